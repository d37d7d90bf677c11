"""Trees of configs read from TOML, YAML or JSON documents, and written to such files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..errors import GpArraysError, TreeError, errors_at, nearest, quoted
from ..model.cache import set_tree_cache_bytes
from ..model.config import Config, field_names, rebuilt, require_config, source_fields
from ..model.nested import instances, replaced
from ..model.registry import type_named
from ..storage.access.files import replace_file
from ..storage.metadata.documents import require_on_disk
from ..units import parse_unit
from .document import (
    CACHE_BYTES,
    RESERVED,
    TYPE_KEY,
    UNIT,
    read_document,
    refuse_reserved,
    text_of,
    tree_document,
    tree_path,
)

T = TypeVar("T")

#: Keys of an entry that say nothing about an array: MongoDB's number of a document.
IGNORED = ("_id",)


def load_tree(path: str | Path) -> dict[str, Any]:
    """The configs of a tree file, by name, in the order of the file.

    Relative paths in it are taken from where the file is. Loading runs no code and
    reads no voxel.

    Raises:
        StoreError: The file cannot be read.
        TreeError, ConfigError: It is not a tree, and where.
    """
    path = tree_path(path)
    return parse_tree(read_document(path), path.absolute().parent)


def save_tree(configs: Mapping[str, Config] | Sequence[Config], path: str | Path) -> None:
    """Write configs, and all that they are made from, to a TOML, YAML or JSON file.

    A file that was there is replaced at once, or stays as it was where this fails. Paths of
    stores below the file's folder are written relative to it, so that the tree moves together
    with its data; others are written absolute. Relative paths of configs made in Python mean
    the working directory.

    Args:
        configs: A list of configs, or configs by name, as ``load_tree`` gives them.
        path: Its suffix says which format: ``.toml``, ``.yaml``, ``.yml`` or ``.json``.

    Raises:
        TreeError: A key that is not the config's name, one name for two contents, another
            suffix, or a value that the format cannot hold.
        ConfigError: Voxels in memory.
        StoreError: The file cannot be written.

    >>> import tempfile
    >>> import gp_arrays as gpa
    >>> folder = tempfile.TemporaryDirectory()
    >>> raw = gpa.ZarrArrayConfig("raw", f"{folder.name}/data.zarr", "raw")
    >>> bright = gpa.ThresholdArrayConfig("bright", raw, threshold=128)
    >>> gpa.save_tree([bright], f"{folder.name}/tree.toml")
    >>> Path(f"{folder.name}/tree.toml").read_text().splitlines()[:3]
    ['[raw]', '__type__ = "ZarrArrayConfig"', 'file_name = "data.zarr"']
    >>> gpa.load_tree(f"{folder.name}/tree.toml")["bright"] == bright
    True
    >>> folder.cleanup()
    """
    if not isinstance(configs, (Mapping, list, tuple)):
        raise TreeError("not a list of array configs", found=quoted(configs))
    listed = list(configs.values() if isinstance(configs, Mapping) else configs)
    for config in listed:
        require_config(config)
    for key, config in configs.items() if isinstance(configs, Mapping) else ():
        if key != config.name:
            raise TreeError(
                "an entry's name is its key",
                found=f"{quoted(key)} for the array {quoted(config.name)}",
                allowed=quoted(config.name),
            )
    path = tree_path(path)
    require_on_disk(path)
    folder, here = path.absolute().parent, Path.cwd()
    table = tree_document(listed, None if folder.resolve() == here.resolve() else here, folder)
    replace_file(path, text_of(table, path), problem="cannot write the tree file")


def parse_tree(document: Any, base: Path | None = None) -> dict[str, Any]:
    """The configs of a document, by name. ``base`` is where relative paths start.

    A nested entry that has the name of an array with another content gets a number after its name.
    ``cache_bytes`` of the document is set for this process.
    """
    if not isinstance(document, Mapping):
        raise TreeError("a tree is a table of arrays", found=type(document).__name__)
    for name in RESERVED:
        if isinstance(document.get(name), Mapping):
            refuse_reserved(name)
    document = dict(document)
    # the fields of the one array that a document holds at its top, if it does
    fields = field_names(type_named(document[TYPE_KEY])) if TYPE_KEY in document else ()
    unit, cache_bytes = (None if key in fields else document.pop(key, None) for key in (UNIT, CACHE_BYTES))
    entries = [(document.get("name", "array"), document)] if TYPE_KEY in document else list(document.items())
    for name, _ in entries:
        if not isinstance(name, str):
            raise TreeError("a name is not a text", found=quoted(name))
    try:
        configs = _Reader(dict(entries), None if unit is None else parse_unit(unit), base).read()
    except RecursionError:
        raise TreeError("arrays are nested too deeply in each other", allowed="references by name") from None
    if cache_bytes is not None:
        with errors_at(CACHE_BYTES):
            set_tree_cache_bytes(cache_bytes)
    return configs


@attrs.frozen
class _Entry:
    """An entry of a document: its type, its values by the names of the type's fields, where it is.

    In fields that hold arrays there are names of entries, and nested entries.
    """

    cls: type[Config]
    values: dict[str, Any]
    path: tuple[str, ...]

    def references(self) -> Iterator[str]:
        """Names of the entries that it and its nested entries refer to."""
        for key in source_fields(self.cls):
            for item in instances(self.values.get(key), (str, _Entry)):
                yield from (item,) if isinstance(item, str) else item.references()


class _Reader:
    """Makes the configs of one document, whatever the order of its entries."""

    def __init__(self, document: Mapping[str, Any], unit: str | None, base: Path | None) -> None:
        self.document, self.unit, self.base = document, unit, base
        self.configs: dict[str, Config] = {}

    def read(self) -> dict[str, Config]:
        entries = {name: self.entry(value, name, (name,)) for name, value in self.document.items()}
        try:
            order = list(TopologicalSorter({name: entries[name].references() for name in entries}).static_order())
        except CycleError as error:
            cycle = error.args[1][::-1]
            raise TreeError("an array is computed from itself", found=" > ".join(cycle), path=cycle[:1]) from None
        for name in order:
            self.configs[name] = self.config(entries[name])
        return _with_distinct_names({name: self.configs[name] for name in self.document})

    def entry(self, value: Any, name: str, path: tuple[str, ...]) -> _Entry:
        """The entry that is read from a value of the document."""
        if not isinstance(value, Mapping):
            allowed = f"a table with {TYPE_KEY}, or the name of another entry"
            raise TreeError("not an array config", found=quoted(value), allowed=allowed, path=path)
        if TYPE_KEY not in value:
            raise TreeError(f"its type is not given by {TYPE_KEY}", found=", ".join(map(str, value)), path=path)
        with errors_at(*path):
            cls = type_named(value[TYPE_KEY])
        values: dict[str, Any] = {}
        for key, item in value.items():
            field = None if key in (TYPE_KEY, *IGNORED) else cls.aliases.get(key, key)
            if field is None:
                continue
            if field not in field_names(cls):
                allowed = nearest(str(key), field_names(cls)) or ", ".join(field_names(cls))
                raise TreeError(f"{cls.__name__} has no field {quoted(key)}", allowed=allowed, path=path)
            if field in values:
                raise TreeError(f"{field} is given twice", found=key, path=path)
            is_source = field in source_fields(cls)
            values[field] = _each_source(item, (*path, field), self.source) if is_source else item
        array_name = values.setdefault("name", name)
        if len(path) == 1 and array_name != name:
            raise TreeError(
                "an entry's name is its key", found=f"name {quoted(array_name)}", allowed=quoted(name), path=path
            )
        return _Entry(cls, values, path)

    def source(self, value: Any, path: tuple[str, ...]) -> str | _Entry:
        if not isinstance(value, str):
            return self.entry(value, ".".join(path), path)
        if value not in self.document:
            near = nearest(value, self.document) or ", ".join(self.document)
            raise TreeError("no array of that name", found=quoted(value), allowed=near, path=path)
        return value

    def config(self, entry: str | _Entry) -> Config:
        if isinstance(entry, str):
            return self.configs[entry]
        cls, values = entry.cls, dict(entry.values)
        for key in set(source_fields(cls)) & set(values):
            values[key] = replaced(values[key], (str, _Entry), self.config)
        missing = [f.name for f in attrs.fields(cls) if f.init and f.default is attrs.NOTHING and f.name not in values]
        if missing:
            raise TreeError(f"{cls.__name__} lacks fields", found=f"missing: {', '.join(missing)}", path=entry.path)
        try:
            config = cls(**values, tree_unit=self.unit)
        except GpArraysError as error:
            raise type(error)(error.problem, error.found, error.allowed, entry.path) from None
        return config if self.base is None else config.located(self.base)


def _each_source(value: Any, path: tuple[str, ...], change: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    """``change`` applied to the references and nested entries in the value of a field that holds configs."""
    if isinstance(value, Mapping) and TYPE_KEY not in value:
        return {key: _each_source(item, (*path, str(key)), change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_each_source(item, (*path, str(i)), change) for i, item in enumerate(value))
    return None if value is None else change(value, path)


def _with_distinct_names(configs: dict[str, Config]) -> dict[str, Config]:
    """Trees in which one name has one content; a name goes to the entry of a file before a nested one."""
    contents = {name: config.content for name, config in configs.items()}

    def distinct(config: Config) -> Config:
        name, number = config.name, 1
        while contents.setdefault(name, config.content) != config.content:
            number += 1
            name = f"{config.name}-{number}"
        return config if name == config.name else config.with_fields(name=name)

    return dict(zip(configs, rebuilt(configs.values(), distinct), strict=True))


def from_file(path: str | Path, cls: type[T]) -> T:
    """The one tree of that type in a file."""
    configs = load_tree(path)
    used = {child for config in configs.values() for child in config.children()}
    roots = [config for config in configs.values() if config not in used]
    fitting = [config for config in roots if isinstance(config, cls)]
    if len(fitting) != 1:
        listed = ", ".join(f"{config.name} ({type(config).__name__})" for config in roots)
        raise TreeError(f"{path} does not hold one tree of type {cls.__name__}", found=listed)
    return fitting[0]
