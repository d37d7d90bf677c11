"""Trees of configs as documents: as plain tables, and as TOML, YAML or JSON files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
import tomli_w
import yaml

from ..errors import ConfigError, StoreError, TreeError
from ..model.config import Config, walk
from ..model.plan import tree_unit
from ..model.rules import SourceRules
from ..storage.files import replace_file
from ..units import Quantity, plain_length

#: Keys that say which array type an entry is.
TYPE_KEYS = ("__type__", "type")
SUFFIXES = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}


def format_of(path: Path) -> str:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise TreeError("not a tree file", found=str(path), allowed=", ".join(SUFFIXES)) from None


def tree_document(roots: Sequence[Config], base: Path | None = None, folder: Path | None = None) -> dict[str, Any]:
    """Configs and all that they are made from, as one plain table.

    Relative paths stay as they are, or are taken from ``base``. Those below ``folder`` become relative to it.

    Raises TreeError where one name stands for two contents, or an array cannot be
    written down (voxels in memory).
    """
    configs = walk(roots)
    table: dict[str, Any] = {}
    if any(config.tree_unit is not None for config in configs):
        table["unit"] = tree_unit(configs, None)
    owner: dict[str, Config] = {}
    for config in configs:
        other = owner.setdefault(config.name, config)
        if other.identity != config.identity:
            raise TreeError(
                f"two different arrays are named {config.name!r}",
                found=f"{other!r} and {config!r}",
                allowed="one name for one content",
            )
        if config.name == "unit":
            raise TreeError("an array in a file cannot be named 'unit'", path=(config.name,))
        table[config.name] = _entry(_placed(config, base, folder) if isinstance(config, SourceRules) else config)
    return table


def _placed(source: SourceRules, base: Path | None, folder: Path | None) -> SourceRules:
    """A source whose paths are said as a file in ``folder`` says them: relative to it where they lie below it."""
    if base is not None:
        source = source.located(base)
    if folder is None:
        return source
    below = {
        key: value.relative_to(folder)
        for key, value in source.fields().items()
        if isinstance(value, Path) and value.is_relative_to(folder) and ".." not in value.relative_to(folder).parts
    }
    moved = source.with_fields(**below)
    # what would not be taken from the folder stays absolute, such as names that read as a URL
    return moved if moved.located(folder) == source.located(folder) else source


def _entry(config: Config) -> dict[str, Any]:
    entry: dict[str, Any] = {TYPE_KEYS[0]: type(config).__name__}
    for key, value in config.fields().items():
        if key != "name" and value is not None:
            try:
                entry[key] = _CONVERTER.unstructure(value)
            except ConfigError as error:
                raise error.at(config.name, key) from None
    return entry


_CONVERTER = cattrs.Converter(unstruct_collection_overrides={tuple: list})
_CONVERTER.register_unstructure_hook_func(
    lambda cls: isinstance(cls, type) and issubclass(cls, Config), lambda config: config.name
)
_CONVERTER.register_unstructure_hook(Path, str)
_CONVERTER.register_unstructure_hook(Quantity, plain_length)
_CONVERTER.register_unstructure_hook_func(
    lambda cls: isinstance(cls, type) and issubclass(cls, np.dtype), lambda dtype: dtype.name
)
# values of a type of their own say how they are written, or why they cannot be
_CONVERTER.register_unstructure_hook_func(lambda cls: hasattr(cls, "document"), lambda value: value.document())


def to_file(roots: Sequence[Config], path: str | Path) -> None:
    """Write a tree file; a file that was there is replaced at once or stays as it was.

    Relative paths in a file are taken from where it is, so paths below that folder are written
    relative to it, others absolute. Those of configs are taken from the working directory.
    """
    path = Path(path)
    format = format_of(path)
    folder, here = path.absolute().parent, Path.cwd()
    table = tree_document(roots, None if folder.resolve() == here.resolve() else here, folder)
    try:
        if format == "TOML":
            text = tomli_w.dumps(table)
        elif format == "YAML":
            text = yaml.safe_dump(table, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise TreeError(f"a value that {format} cannot hold", found=" ".join(str(error).split())) from error
    replace_file(path, text, problem="cannot write the tree file")


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML in which a key stands once in its table; what ``<<`` merges into it may be said anew."""

    # here and not where tables are constructed: by then merged keys may stand among their own
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            kind = key.tag.rpartition(":")[2]
            if not isinstance(key, yaml.ScalarNode) or kind == "merge":
                continue
            # 1 and 0x1 are one key
            value = self.construct_object(key) if kind in ("int", "float", "bool") else key.value
            if (kind, value) in seen:
                raise _Twice(f"{key.value!r} in line {key.start_mark.line + 1}")
            seen.add((kind, value))
        return node


class _Twice(Exception):
    """A key that stands twice in one table of a document, and where."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of JSON, whose keys stand in it once."""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(repr(next(key for key in keys if keys.count(key) > 1)))
    return table


def read_document(path: Path) -> Any:
    """The content of a TOML, YAML or JSON file. Raises StoreError, TreeError."""
    format = format_of(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError("cannot read the tree file", found=f"{path}: {error.strerror}") from error
    try:
        if format == "TOML":
            return tomllib.loads(text)
        # parsers differ in which of two equal keys they keep; TOML's refuses them by itself
        return yaml.load(text, _OnceLoader) if format == "YAML" else json.loads(text, object_pairs_hook=_once)
    except _Twice as twice:
        raise TreeError(
            "a key is given twice in one table", found=f"{path}: {twice}", allowed="each key once"
        ) from None
    except (ValueError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TreeError(f"not a {format} document", found=f"{path}: {error}") from None
