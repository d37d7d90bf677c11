"""Grey values scaled to what a network expects."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError
from ..model import fields
from ..model.base import ArrayConfig, PointwiseConfig
from ..model.config import SOURCE
from ..model.meta import Meta, Voxels
from .slabs import slabs


def normalize(data: Voxels, low: float, high: float, clip: bool = False) -> Voxels:
    """float32 of ``(data - low) / (high - low)``.

    Computed in float64 where data are wider than 16 bits, or where ``low`` or the
    difference is beyond what float32 holds; what float32 cannot hold becomes infinite.

    >>> normalize(np.array([0, 51, 255], np.uint8), 0, 255).tolist() == [0.0, np.float32(0.2), 1.0]
    True
    """
    low, span = float(low), float(high) - float(low)
    narrow = data.dtype.itemsize <= 2 and _within_float32(low) and _within_float32(span)
    inside = np.dtype(np.float32 if narrow else np.float64)
    out = np.empty(data.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for index in slabs(data.shape):
            slab = out[index] if narrow else np.empty(out[index].shape, inside)
            # without a difference to take, one pass does
            above = np.subtract(data[index], inside.type(low), out=slab, dtype=inside) if low else data[index]
            np.divide(above, inside.type(span), out=slab, dtype=inside)
            if clip:
                np.clip(slab, 0, 1, out=slab)
            if not narrow:
                out[index] = slab
    return out


def _within_float32(value: float) -> bool:
    """True if it is 0 or a normal number of float32: neither too large nor too small."""
    info = np.finfo(np.float32)
    return value == 0 or float(info.tiny) <= abs(value) <= float(info.max)


@attrs.frozen(eq=False, repr=False)
class IntensitiesArrayConfig(PointwiseConfig):
    """float32 of ``(x - min) / (max - min)``.

    Args:
        name: The array's name.
        source_array_config: Any array; axes are kept.
        min: The value that becomes 0.
        max: The value that becomes 1; not that of ``min``. A smaller one inverts.
        clip: True to set what lies outside of 0 to 1 to the nearer of them.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[0, 128, 255]], np.uint8))
    >>> gpa.IntensitiesArrayConfig("norm", raw, min=0, max=128, clip=True).array()[:]
    array([[0., 1., 1.]], dtype=float32)
    """

    supports_channel_subset = True

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
    min: float = attrs.field(converter=fields.to_number)
    max: float = attrs.field(converter=fields.to_number)
    clip: bool = attrs.field(default=False, converter=fields.to_bool)

    def check(self) -> None:
        if self.min == self.max:
            raise ConfigError("min and max are equal", found=self.min, allowed="two different numbers")
        span = float(self.max) - float(self.min)
        if span == 0 or not math.isfinite(span):
            raise ConfigError(
                "max - min is not a number that float64 holds",
                found=f"{self.min}, {self.max}",
                allowed="two numbers that float64 tells apart",
            )

    def infer(self, *sources: Meta) -> Meta:
        return attrs.evolve(sources[0], dtype=np.float32)

    def kernel(self, dtype: np.dtype[Any], *sources: Voxels) -> Voxels:
        return normalize(sources[0], self.min, self.max, self.clip)
