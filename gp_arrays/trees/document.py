"""Trees of configs written as plain tables, and the files that hold such tables."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import numpy as np
import tomli_w
import yaml

from ..errors import StoreError, TreeError, errors_at, quoted
from ..model.config import Config, all_configs, source_fields
from ..model.nested import replaced
from ..model.plan import refuse_ambiguous_names, tree_unit
from ..storage.access.files import store_errors
from ..storage.metadata.document_values import with_distinct_keys
from ..units import Quantity, plain_length

#: The key that says which array type an entry is.
TYPE_KEY = "__type__"
#: Keys at the top of a tree file that are settings, and all that are not names of arrays.
UNIT, CACHE_BYTES = "unit", "cache_bytes"
RESERVED = (TYPE_KEY, UNIT, CACHE_BYTES)


def tree_document(roots: Sequence[Config], base: Path | None = None, folder: Path | None = None) -> dict[str, Any]:
    """Configs and all that they are computed from, as one plain table.

    Relative paths stay as they are, or are taken from ``base``. Those below ``folder`` become relative to it.

    Raises TreeError if one name stands for two contents or is reserved, or if an array
    cannot be written (voxels in memory).
    """
    configs = all_configs(roots)
    refuse_ambiguous_names(configs, roots)
    # arrays of one name and content may still differ in the names of their sources: the others are nested in place
    by_name = {config.name: config for config in (*reversed(configs), *roots)}

    def reference(config: Config) -> Any:
        return config.name if by_name[config.name] == config else {**entry(config), "name": config.name}

    def entry(config: Config) -> dict[str, Any]:
        placed = _placed(config, base, folder)
        values = {key: value for key, value in placed.fields().items() if key != "name" and value is not None}
        return {TYPE_KEY: type(config).__name__, **{key: plain(config, key, value) for key, value in values.items()}}

    def plain(config: Config, key: str, value: Any) -> Any:
        if key in source_fields(type(config)) and isinstance(value, dict) and TYPE_KEY in value:
            refuse_reserved(TYPE_KEY, config.name, key)
        with errors_at(config.name, key):
            return _CONVERTER.unstructure(replaced(value, Config, reference))

    unit = tree_unit(configs, None) if any(config.tree_unit for config in configs) else None
    for config in configs:
        if config.name in RESERVED:
            refuse_reserved(config.name)
    entries = {config.name: entry(config) for config in configs if by_name[config.name] == config}
    return entries if unit is None else {UNIT: unit, **entries}


def refuse_reserved(name: str, *path: str) -> None:
    """Raises TreeError for an array with a name that a tree file uses itself."""
    raise TreeError(f"an array in a file cannot be named {name!r}", path=path or (name,))


def _placed(config: Config, base: Path | None, folder: Path | None) -> Config:
    """A config whose paths are written as a file in ``folder`` has them: relative to it if they are below it."""
    located = config if base is None else config.located(base)
    if folder is None:
        return located

    def below(path: Path) -> Path:
        relative = path.relative_to(folder) if path.is_relative_to(folder) else path
        return path if ".." in relative.parts else relative

    moved = located.with_paths(below)
    # a path that would not be taken from the folder stays absolute, such as a name that reads as a URL
    return moved if moved.located(folder) == located.located(folder) else located


_CONVERTER = cattrs.Converter(unstruct_collection_overrides={tuple: list})
_CONVERTER.register_unstructure_hook(Path, str)
_CONVERTER.register_unstructure_hook(Quantity, plain_length)
_CONVERTER.register_unstructure_hook_func(
    lambda cls: isinstance(cls, type) and issubclass(cls, np.dtype), lambda dtype: dtype.name
)
# values of a type of their own say how they are written, or why they cannot be
_CONVERTER.register_unstructure_hook_func(lambda cls: hasattr(cls, "document"), lambda value: value.document())


class _Loader(yaml.SafeLoader):
    """Safe YAML whose tables have each key once, without anchors, and with DaCapo's tuples."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors are not read: refer to arrays by name")
        return super().compose_node(parent, index)

    def construct_table(self, node: Any) -> dict[Any, Any]:
        return with_distinct_keys(
            [
                (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
                for key, value in node.value
            ]
        )

    def construct_tuple(self, node: Any) -> list[Any]:
        return self.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_table)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_tuple)


class _Format(NamedTuple):
    name: str
    load: Callable[[str], Any]
    dump: Callable[[Any], str]


_YAML = _Format(
    "YAML",
    functools.partial(yaml.load, Loader=_Loader),
    # with allow_unicode it writes some characters that it then reads as others
    lambda table: str(yaml.safe_dump(table, sort_keys=False)),
)
_FORMATS = {
    ".toml": _Format("TOML", tomllib.loads, tomli_w.dumps),
    ".yaml": _YAML,
    ".yml": _YAML,
    ".json": _Format(
        "JSON",
        functools.partial(json.loads, object_pairs_hook=with_distinct_keys),
        functools.partial(json.dumps, indent=2, ensure_ascii=False),
    ),
}


def is_tree_file(path: Path) -> bool:
    """True for a path that is named as a tree file is."""
    return path.suffix.lower() in _FORMATS and not path.is_dir()


def _format_of(path: Path) -> _Format:
    if path.suffix.lower() not in _FORMATS:
        raise TreeError("not a tree file", found=str(path), allowed=", ".join(_FORMATS))
    return _FORMATS[path.suffix.lower()]


def tree_path(path: Any) -> Path:
    """The path of a tree file. Raises StoreError for a value that is none."""
    if not isinstance(path, (str, Path)):
        raise StoreError("not the path of a tree file", found=quoted(path))
    return Path(path)


def text_of(table: dict[str, Any], path: Path) -> bytes:
    """A table in the format that the suffix of ``path`` says. Raises TreeError."""
    format = _format_of(path)
    try:
        return format.dump(table).encode()
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise TreeError(f"a value that {format.name} cannot hold", found=" ".join(str(error).split())) from error


def read_document(path: Path) -> Any:
    """The content of a TOML, YAML or JSON file. Raises StoreError, TreeError."""
    format = _format_of(path)
    with store_errors(path, "cannot read the tree file"):
        data = path.read_bytes()
    try:
        return format.load(data.decode("utf-8-sig"))
    except Exception as error:  # of any kind: PyYAML answers malformed values with KeyError, AttributeError and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TreeError(f"not a {format.name} document", found=f"{path}: {reason}") from None
