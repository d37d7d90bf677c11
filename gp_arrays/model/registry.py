"""The array types that trees are made of, by the names of their classes."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, nearest, quoted

if TYPE_CHECKING:
    from .config import Config

#: Where an installed package names its array types.
ENTRY_POINT_GROUP = "gp_arrays.types"

#: Every array type whose module was imported, by class name.
TYPES: dict[str, type[Config]] = {}

#: Names of types that other tools write beside arrays.
_TRAINING_SET = re.compile(r"Data(set|Split)\w*Config")


def type_named(name: Any) -> type[Config]:
    """The array type with that class name, from this package, an installed package or a module that was imported.

    Raises ConfigError for a name that no type has.
    """
    import gp_arrays

    if not isinstance(name, str):
        raise ConfigError("the name of an array type is not a text", found=quoted(name))
    if name in gp_arrays.ARRAY_TYPES:
        # importing its module registers it
        getattr(gp_arrays, name)
    elif name not in TYPES:
        for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
            entry.load()
    if name in TYPES:
        return TYPES[name]
    if _TRAINING_SET.search(name):
        problem = "a training set, not an array: datasets and datasplits cannot be read yet"
        raise ConfigError(problem, found=quoted(name))
    known = sorted({*TYPES, *gp_arrays.ARRAY_TYPES, *entry_points(group=ENTRY_POINT_GROUP).names})
    near = nearest(name, known, cutoff=0.8)
    raise ConfigError("unknown array type", found=quoted(name), allowed=near or ", ".join(known))
