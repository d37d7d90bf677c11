"""Oracles: second, simple implementations of array types, slow and without any code of the first ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

import attrs
import numpy as np

from ..model.config import Config, all_configs
from ..units import Quantity

_EXPONENTS = {"fm": -15, "pm": -12, "angstrom": -10, "nm": -9, "um": -6, "mm": -3, "cm": -2, "m": 0}
_NAMES = {
    "femtometer": "fm",
    "picometer": "pm",
    "nanometer": "nm",
    "micrometer": "um",
    "millimeter": "mm",
    "meter": "m",
}


@attrs.frozen(eq=False)
class Volume:
    """All voxels of an array, and where they are.

    Attributes:
        data: The voxels; non-spatial axes first, spatial axes last.
        begin: The corner of the first voxel, in world units.
        voxel_size: In world units.
        nonspatial: Names of the axes before the spatial ones.
        channels: Names of the channels, None where there is no channel axis.
        interpolatable: True if values between voxels mean anything.
        averaged: True if the array or one below it was interpolated or averaged.
    """

    data: np.ndarray[Any, Any]
    begin: tuple[int, ...]
    voxel_size: tuple[int, ...]
    nonspatial: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    interpolatable: bool = False
    averaged: bool = False

    def __attrs_post_init__(self) -> None:
        if self.data.ndim != len(self.nonspatial) + len(self.begin) or len(self.begin) != len(self.voxel_size):
            raise ValueError(
                f"{self.data.ndim} axes, nonspatial {self.nonspatial}, begin {self.begin}, {self.voxel_size}"
            )
        if ("c" in self.nonspatial) != (self.channels is not None):
            raise ValueError(f"channels {self.channels} of non-spatial axes {self.nonspatial}")

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return len(self.begin)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of voxels along each spatial axis."""
        shape: tuple[int, ...] = self.data.shape
        return shape[len(self.nonspatial) :]

    @property
    def end(self) -> tuple[int, ...]:
        """The far corner, in world units."""
        return tuple(b + n * v for b, n, v in zip(self.begin, self.shape, self.voxel_size, strict=True))

    def part(self, begin: Iterable[int], end: Iterable[int]) -> np.ndarray[Any, Any]:
        """The voxels between two corners, which lie on the grid and within the volume."""
        cut: list[Any] = [slice(None)] * len(self.nonspatial)
        for low, high, own, size in zip(begin, end, self.begin, self.voxel_size, strict=True):
            cut.append(slice((low - own) // size, (high - own) // size))
        voxels: np.ndarray[Any, Any] = self.data[tuple(cut)]
        return voxels

    def with_data(self, data: np.ndarray[Any, Any], **changes: Any) -> Volume:
        """The same volume with other voxels."""
        return attrs.evolve(self, data=data, **changes)


class Naive:
    """Evaluates configs, and remembers what it evaluated."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._done: dict[Config, Volume] = {}

    def __call__(self, config: Config) -> Volume:
        """All voxels of a config: by the oracle of its type, else those that its array delivers."""
        # sources first, so that a chain of a thousand arrays needs no deep recursion
        for each in all_configs([config]) if config not in self._done else ():
            if each not in self._done:
                meaning = next((_MEANINGS[cls] for cls in type(each).__mro__ if cls in _MEANINGS), delivered)
                self._done[each] = meaning(each, self)
        return self._done[config]

    def lengths(self, values: Iterable[Any], unit: str | None = None) -> tuple[int, ...]:
        """Lengths as whole numbers of the unit; bare ones are in ``unit``, else in that of the tree."""
        return tuple(self._length(value, unit) for value in values)

    def _length(self, value: Any, unit: str | None) -> int:
        quantity = Quantity.parse(value)
        own = quantity.unit or unit or self.unit
        own = _NAMES.get(own.removesuffix("s"), own)
        exact = quantity.value * Fraction(10) ** (_EXPONENTS[own] - _EXPONENTS[self.unit])
        if exact.denominator != 1:
            raise ValueError(f"{quantity} is not a whole number of {self.unit}")
        return int(exact)


def delivered(config: Any, naive: Naive) -> Volume:
    """All voxels of a config as its array delivers them."""
    array = config.array(unit=naive.unit)
    count = array.ndim - array.dims
    return Volume(
        array.to_ndarray(),
        tuple(array.roi.begin),
        tuple(array.voxel_size),
        array.axes[:count],
        array.channels,
        array.interpolatable,
        array.meta.averaged,
    )


_MEANINGS: dict[type[Any], Callable[[Any, Naive], Volume]] = {}

F = TypeVar("F", bound=Callable[[Any, Naive], Volume])


def naive(kind: type[Any]) -> Callable[[F], F]:
    """Register the oracle of an array type: a function of a config that returns all its voxels.

    The function gets the config and a ``Naive``: call that on a source config for the
    source's volume. Write it from the definition of the type, in another way than the kernel:
    loops over voxels, Python integers, fractions. Where voxels cannot be computed it raises
    ``gp_arrays.ComputeError``, as the array does.

    ::

        @naive(BrightArrayConfig)
        def bright(config, naive):
            source = naive(config.source_array_config)
            voxels = [int(value > config.limit) for value in source.data.ravel().tolist()]
            data = np.array(voxels, np.uint8).reshape(source.data.shape)
            return source.with_data(data, interpolatable=False)
    """

    def register(function: F) -> F:
        _MEANINGS[kind] = function
        return function

    return register


def evaluate_naively(config: Any, unit: str = "nm") -> Volume:
    """All voxels of a config, computed by the oracles.

    Args:
        config: The root of a tree whose volumes fit memory.
        unit: The unit of the tree.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[10, 200]], np.uint8))
    >>> evaluate_naively(gpa.ThresholdArrayConfig("bright", raw, threshold=128)).data
    array([[0, 1]], dtype=uint8)
    """
    return Naive(config.tree_unit or unit)(config)


def meanings() -> Mapping[type[Any], Callable[[Any, Naive], Volume]]:
    """The registered oracles, by array type."""
    return dict(_MEANINGS)
