"""Trees of configs written down: as plain tables, and as TOML, YAML or JSON files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
import tomli_w
import yaml

from .config import Config, walk
from .errors import ConfigError, StoreError, TreeError
from .plan import tree_unit
from .rules import SourceRules
from .units import Quantity, plain_length

#: Keys that say which array type an entry is.
TYPE_KEYS = ("__type__", "type")
SUFFIXES = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}


def format_of(path: Path) -> str:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise TreeError("not a tree file", found=str(path), allowed=", ".join(SUFFIXES)) from None


def tree_document(roots: Sequence[Config], base: Path | None = None) -> dict[str, Any]:
    """Configs and all that they are made from, as one plain table.

    Relative paths stay as they are, or are taken from ``base``.

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
            raise TreeError(f"two different arrays are named {config.name!r}", found=f"{other!r} and {config!r}",
                            allowed="one name for one content")  # fmt: skip
        if config.name == "unit":
            raise TreeError("an array in a file cannot be named 'unit'", path=(config.name,))
        located = config.located(base) if base is not None and isinstance(config, SourceRules) else config
        table[config.name] = _entry(located)
    return table


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

    Relative paths in a file are taken from where it is: those of configs, which are taken from
    the working directory, stay relative only where that is the same.
    """
    path = Path(path)
    format = format_of(path)
    folder, here = path.absolute().parent, Path.cwd()
    table = tree_document(roots, None if folder.resolve() == here.resolve() else here)
    try:
        if format == "TOML":
            text = tomli_w.dumps(table)
        elif format == "YAML":
            text = yaml.safe_dump(table, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise TreeError(f"a value that {format} cannot hold", found=" ".join(str(error).split())) from error
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise StoreError("cannot write the tree file", found=f"{path}: {error.strerror}") from error
