"""Trees of configs read from TOML, YAML or JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, StoreError, TreeError, nearest
from ..model.config import Config, field_names, source_fields, type_named
from ..model.rules import SourceRules
from ..units import parse_unit
from .document import TYPE_KEYS, read_document, to_file

T = TypeVar("T")


def load_tree(path: str | Path) -> dict[str, Any]:
    """The configs of a tree file, by name, in the order of the file.

    Relative paths in it are taken from where the file is. Loading runs no code and
    reads no voxel.

    Raises:
        StoreError: The file cannot be read.
        TreeError, ConfigError: It is not a tree, and where.
    """
    if not isinstance(path, (str, Path)):
        raise StoreError("not the path of a tree file", found=repr(path))
    path = Path(path)
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
        raise TreeError("not a list of array configs", found=repr(configs))
    listed = list(configs.values() if isinstance(configs, Mapping) else configs)
    for config in listed:
        if not isinstance(config, Config):
            raise TreeError("not an array config", found=repr(config))
    for key, config in configs.items() if isinstance(configs, Mapping) else ():
        if key != config.name:
            raise TreeError(
                "an entry's name is its key", found=f"{key!r} for the array {config.name!r}", allowed=repr(config.name)
            )
    to_file(listed, path)


def parse_tree(document: Any, base: Path | None = None) -> dict[str, Any]:
    """The configs of a document, by name. ``base`` is where relative paths start."""
    if not isinstance(document, Mapping):
        raise TreeError("a tree is a table of arrays", found=type(document).__name__)
    _refuse_cycles(document)
    document = dict(document)
    if any(key in document for key in TYPE_KEYS):
        unit = document.pop("unit", None) if "unit" not in _own_fields(document) else None
        name = document.get("name", "array")
        if not isinstance(name, str):
            raise TreeError("a name is not a text", found=repr(name))
        document = {name: document}
    else:
        unit = document.pop("unit", None)
        for name in document:
            if not isinstance(name, str):
                raise TreeError("a name is not a text", found=repr(name))
    try:
        return _Reader(document, None if unit is None else parse_unit(unit), base).read()
    except RecursionError:
        raise TreeError("arrays are nested too deeply in each other", allowed="references by name") from None


def _refuse_cycles(document: Any) -> None:
    """Raises TreeError where a part of a document holds itself, as an anchor of YAML can."""
    inside: dict[int, str] = {}
    done: set[int] = set()
    stack: list[tuple[Any, str, bool]] = [(document, "", False)]
    while stack:
        value, key, left = stack.pop()
        if not isinstance(value, (Mapping, list)):
            continue
        if left:
            del inside[id(value)]
            done.add(id(value))
        elif id(value) in inside:
            raise TreeError(
                "an array is made from itself",
                found=f"an anchor within itself at {key!r}",
                path=tuple(inside.values())[1:],
            )
        elif id(value) not in done:
            inside[id(value)] = key
            stack.append((value, key, True))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            stack.extend((item, str(name), False) for name, item in items)


def _own_fields(entry: Mapping[str, Any]) -> tuple[str, ...]:
    kind = next((entry[key] for key in TYPE_KEYS if key in entry), None)
    return field_names(type_named(kind))


class _Reader:
    """Makes the configs of one document, each once, whatever their order."""

    def __init__(self, document: Mapping[str, Any], unit: str | None, base: Path | None) -> None:
        self.document, self.unit, self.base = document, unit, base
        self.made: dict[str, Config] = {}
        # what several anchors of YAML stand for is made once, too
        self.nested: dict[int, Config] = {}

    def read(self) -> dict[str, Config]:
        for root in self.document:
            # depth first without recursion: a chain of a thousand references is fine
            stack = [root]
            while stack:
                name = stack[-1]
                if name in self.made:
                    stack.pop()
                    continue
                missing = [other for other in self.references(name) if other not in self.made]
                circle = next((other for other in missing if other in stack), None)
                if circle is not None:
                    path = tuple(stack[stack.index(circle) :])
                    raise TreeError("an array is made from itself", found=" > ".join((*path, circle)), path=(name,))
                if missing:
                    stack.append(missing[0])
                else:
                    self.made[name] = self.entry(self.document[name], name, (name,))
                    stack.pop()
        return {name: self.made[name] for name in self.document}

    def references(self, name: str) -> list[str]:
        entry = self.document[name]
        found: list[str] = []
        seen: set[int] = set()
        pending: list[tuple[Any, tuple[str, ...]]] = [(entry, (name,))]
        while pending:
            value, path = pending.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            fields = self.fields(value, path)
            for key in source_fields(self.type(value, path)):
                for item, where in _items(fields.get(key), (*path, key)):
                    if isinstance(item, str):
                        if item not in self.document:
                            near = nearest(item, self.document) or ", ".join(self.document)
                            raise TreeError("no array of that name", found=repr(item), allowed=near, path=where)
                        found.append(item)
                    elif item is not None:
                        pending.append((item, where))
        return found

    def type(self, entry: Any, path: tuple[str, ...]) -> type[Config]:
        if not isinstance(entry, Mapping):
            raise TreeError(
                "not an array config",
                found=repr(entry),
                path=path,
                allowed=f"a table with {TYPE_KEYS[0]}, or the name of another entry",
            )
        kind = next((entry[key] for key in TYPE_KEYS if key in entry), None)
        if kind is None:
            raise TreeError(f"its type is not given by {TYPE_KEYS[0]}", found=", ".join(map(str, entry)), path=path)
        try:
            return type_named(kind)
        except ConfigError as error:
            raise error.at(*path) from None

    def fields(self, entry: Any, path: tuple[str, ...]) -> dict[str, Any]:
        cls = self.type(entry, path)
        known = field_names(cls)
        fields = {}
        for key, value in entry.items():
            if key in TYPE_KEYS and key not in known:
                continue
            field = cls.aliases.get(key, key)
            if field not in known:
                raise TreeError(
                    f"{cls.__name__} has no field {key!r}",
                    path=path,
                    allowed=nearest(str(key), known) or ", ".join(known),
                )
            if field in fields:
                raise TreeError(f"{field} is given twice", found=key, path=path)
            fields[field] = value
        return fields

    def entry(self, entry: Any, name: str, path: tuple[str, ...]) -> Config:
        cls, fields = self.type(entry, path), self.fields(entry, path)
        own = fields.get("name", name)
        if len(path) == 1 and own != name:
            raise TreeError("an entry's name is its key", found=f"name {own!r}", allowed=repr(name), path=path)
        fields["name"] = own
        for key in source_fields(cls):
            if key in fields:
                fields[key] = self.sources(fields[key], (*path, key))
        try:
            config = cls(**fields)
        except TypeError as error:
            missing = [key for key in field_names(cls) if key not in fields and key in str(error)]
            found = f"missing: {', '.join(missing)}" if missing else str(error)
            raise TreeError(f"{cls.__name__} lacks fields", found=found, path=path) from None
        except ConfigError as error:
            raise type(error)(error.problem, error.found, error.allowed, path) from None
        if self.base is not None and isinstance(config, SourceRules):
            config = config.located(self.base)
        return config if self.unit is None else config.in_unit(self.unit)

    def sources(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            return self.made[value]
        if isinstance(value, Mapping) and not any(key in value for key in TYPE_KEYS):
            return {key: self.sources(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.sources(item, (*path, str(i))) for i, item in enumerate(value)]
        if value is None:
            return None
        if id(value) not in self.nested:
            self.nested[id(value)] = self.entry(value, ".".join(path), path)
        return self.nested[id(value)]


def _items(value: Any, path: tuple[str, ...]) -> list[tuple[Any, tuple[str, ...]]]:
    """The references and nested entries of a field that holds configs."""
    if isinstance(value, Mapping) and not any(key in value for key in TYPE_KEYS):
        return [pair for key, item in value.items() for pair in _items(item, (*path, str(key)))]
    if isinstance(value, (list, tuple)):
        return [pair for i, item in enumerate(value) for pair in _items(item, (*path, str(i)))]
    return [(value, path)]


def from_file(path: str | Path, cls: type[T]) -> T:
    """The one tree of that type in a file."""
    configs = load_tree(path)
    used = {child.identity for config in configs.values() for child in config.children()}
    roots = [config for config in configs.values() if config.identity not in used]
    fitting = [config for config in roots if isinstance(config, cls)]
    if len(fitting) != 1:
        found = ", ".join(f"{config.name} ({type(config).__name__})" for config in roots)
        raise TreeError(f"{path} does not hold one tree of type {cls.__name__}", found=found)
    return fitting[0]
