"""One value everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from ..errors import ConfigError
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.meta import Block, Meta, Region, Voxels


def smallest_dtype(low: int, high: int) -> np.dtype[Any] | None:
    """The smallest integer dtype that holds ``low`` to ``high``, None past 64 bits.

    >>> smallest_dtype(0, 255), smallest_dtype(-1, 255), smallest_dtype(0, 2**64)
    (dtype('uint8'), dtype('int16'), None)
    """
    kind = "uint" if low >= 0 else "int"
    for bits in (8, 16, 32, 64):
        info = np.iinfo(f"{kind}{bits}")
        if info.min <= low and high <= info.max:
            return info.dtype
    return None


@attrs.frozen(eq=False, repr=False)
class OneValueConfig(OneSourceConfig):
    """Base of the array types that have the extent of their source and one value everywhere."""

    abstract: ClassVar[bool] = True
    supports_channel_subset: ClassVar[bool] = True
    keeps_constant: ClassVar[bool] = True
    any_nonspatial_axes: ClassVar[bool] = True

    def value(self) -> Any:
        """The value, as a numpy scalar of the dtype of the array."""
        raise NotImplementedError(f"{type(self).__name__} states no value")

    def infer_from(self, source: Meta) -> Meta:
        return attrs.evolve(source, dtype=self.value().dtype, interpolatable=False, averaged=False)

    def context_of(self, region: Region, meta: Meta, source: Meta) -> None:
        return None

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        return np.full(meta.shape_of(region), self.value())


@attrs.frozen(eq=False, repr=False)
class ConstantArrayConfig(OneValueConfig):
    """The extent, voxel size and axes of an array, and one value everywhere.

    No voxel of the source is read.

    Args:
        name: The array's name.
        source_array_config: Any array.
        constant: The value.
        dtype: By default the smallest unsigned (for negative values signed) integer that
            holds it; float32 for a float.

    >>> import gp_arrays as gpa
    >>> gpa.ConstantArrayConfig("c", gpa.DummyArrayConfig("d"), constant=300).array()[0, 0, :3]
    array([300, 300, 300], dtype=uint16)
    """

    is_mask = True

    constant: int | float = attrs.field(default=1, converter=fields.to_number)
    dtype: np.dtype[Any] | None = attrs.field(default=None, converter=fields.to_dtype)

    def check(self) -> None:
        dtype = self._value_dtype()
        if dtype.kind == "f":
            fits = abs(self.constant) <= float(np.finfo(dtype).max)
        elif dtype.kind == "b":
            fits = self.constant in (0, 1)
        else:
            info = np.iinfo(dtype)
            fits = self.constant == int(self.constant) and info.min <= self.constant <= info.max
        if not fits:
            raise ConfigError("the constant does not fit its dtype", found=self.constant, allowed=f"a value of {dtype}")

    def value(self) -> Any:
        return self._value_dtype().type(self.constant)

    def _value_dtype(self) -> np.dtype[Any]:
        if self.dtype is not None:
            return self.dtype
        if isinstance(self.constant, float):
            return np.dtype(np.float32)
        smallest = smallest_dtype(self.constant, self.constant)
        if smallest is None:
            raise ConfigError("the constant does not fit 64 bits", found=self.constant)
        return smallest
