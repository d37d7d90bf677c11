"""Values of fields: plain values, nested in tuples and mappings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, quoted
from ..units import Quantity

#: What ``isinstance`` takes.
Kind = type[Any] | tuple[type[Any], ...]


def instances(value: Any, kind: Kind) -> Iterator[Any]:
    """Every instance of ``kind`` in nested tuples and mappings.

    >>> list(instances((1, {"a": (2, "b")}), int))
    [1, 2]
    """
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from instances(item, kind)


def replaced(value: Any, kind: Kind, by: Callable[[Any], Any]) -> Any:
    """``value`` with every instance of ``kind`` in nested tuples and mappings replaced.

    >>> replaced((1, {"a": (2, "b")}), int, lambda number: -number)
    (-1, {'a': (-2, 'b')})
    """
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, Mapping):
        return {key: replaced(item, kind, by) for key, item in value.items()}
    return tuple(replaced(item, kind, by) for item in value) if isinstance(value, tuple) else value


def digest(*values: Any) -> str:
    """A hash of values, the same in every process. Raises ConfigError for values that no field can have."""
    text = json.dumps(_canonical(values), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """JSON that differs wherever values do."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return {"int": hex(value)}
    if isinstance(value, (float, np.floating)):
        return {"float": float(value).hex()}
    if isinstance(value, Mapping):
        return {"map": [[_canonical(key), _canonical(item)] for key, item in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_canonical(item) for item in value]
    if isinstance(value, (Path, np.dtype, Quantity, Roi)):
        return {type(value).__name__: str(value)}
    if hasattr(value, "canonical"):
        return {type(value).__name__: value.canonical()}
    raise ConfigError(
        f"a value of type {type(value).__name__} in a config", found=quoted(value), allowed="plain values"
    )
