"""Arrays of one value with the extent of another array."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, quoted
from ..model.array import Array
from .constant import ConstantArrayConfig
from .ones import OnesArrayConfig


def _require_array(array: Any) -> None:
    if not isinstance(array, Array):
        raise ConfigError("not an array", found=quoted(array), allowed="a gp_arrays.Array, as config.array() gives")


def ones_like(array: Array, name: str | None = None) -> Array:
    """bool ones with the extent, voxel size and axes of an array."""
    _require_array(array)
    return Array(OnesArrayConfig(name or f"ones-like-{array.name}", array.config), unit=array.unit)


def constant_like(array: Array, constant: float, dtype: Any = None, name: str | None = None) -> Array:
    """One value with the extent, voxel size and axes of an array."""
    _require_array(array)
    config = ConstantArrayConfig(name or f"constant-like-{array.name}", array.config, constant, dtype)
    return Array(config, unit=array.unit)
