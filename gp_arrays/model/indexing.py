"""What ``array[key]`` and ``array[key] = values`` take: a roi in world units or indices as in numpy, and values."""

from __future__ import annotations

import operator
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import RequestError, StoreError, quoted
from .meta import Meta, Region, Voxels


@attrs.frozen
class Selection:
    """A key of indices: the box to read, and what numpy applies to the voxels of the box.

    Attributes:
        bounds: Begin and end of the box on each axis, as indices.
        key: What numpy applies to the voxels of the box.
        shape: The shape of the result.
    """

    bounds: tuple[tuple[int, int], ...]
    key: tuple[Any, ...]
    shape: tuple[int, ...]

    @property
    def empty(self) -> bool:
        return any(end <= begin for begin, end in self.bounds)

    @property
    def contiguous(self) -> bool:
        """True if the result is the whole box, apart from dropped axes."""
        return all(item in (0, slice(None)) for item in self.key)

    def apply(self, box: Voxels) -> Voxels:
        """The result, from the voxels of the box."""
        result = box[self.key]
        # a single voxel stays the scalar that numpy makes of it
        return np.ascontiguousarray(result) if result.ndim else result


def select(key: Any, shape: tuple[int, ...]) -> Selection:
    """Read a key of integers, slices and an ellipsis, as numpy does. The cost is that of the key, not of the shape.

    >>> select((slice(2, 5), ..., -1), (10, 10, 10))
    Selection(bounds=((2, 5), (0, 10), (9, 10)), key=(slice(None, None, None), slice(None, None, None), 0), shape=(3, 10))

    Raises:
        RequestError: An index out of range, too many of them, or something that is not an index.
    """
    items = key if isinstance(key, tuple) else (key,)
    # identity, since == on an array among the items compares voxels
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1 or len(items) - len(ellipses) > len(shape):
        raise RequestError("too many indices", found=quoted(key), allowed=f"{len(shape)} axes")
    first = ellipses[0] if ellipses else len(items)
    omitted = (slice(None),) * (len(shape) - len(items) + len(ellipses))
    items = (*items[:first], *omitted, *items[first + 1 :])
    bounds: list[tuple[int, int]] = []
    inner_key: list[Any] = []
    lengths: list[int] = []
    for axis, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            indices = _indices(item, size)
            if indices:
                # a range is sorted, one way or the other
                ends = indices[0], indices[-1]
                bounds.append((min(ends), max(ends) + 1))
            else:
                bounds.append((0, 0))
            inner_key.append(slice(None) if indices.step == 1 else slice(None, None, indices.step))
            lengths.append(len(indices))
        else:
            index = _index(item, size, axis)
            bounds.append((index, index + 1))
            inner_key.append(0)
    return Selection(tuple(bounds), tuple(inner_key), tuple(lengths))


def _indices(item: slice, size: int) -> range:
    try:
        return range(*item.indices(size))
    except (TypeError, ValueError) as error:
        raise RequestError("not a slice of indices", found=quoted(item), allowed=str(error)) from None


def _index(item: Any, size: int, axis: int) -> int:
    try:
        if isinstance(item, (bool, np.bool_)):
            raise TypeError("numpy would take a bool for a mask")
        index = operator.index(item)
    except TypeError:
        raise RequestError("not an index", found=quoted(item), allowed="integers, slices, ... and a Roi") from None
    if not -size <= index < size:
        raise RequestError(f"index out of range on axis {axis}", found=quoted(index), allowed=f"{-size} to {size - 1}")
    return index % size


def require_roi(roi: Any, *path: str) -> None:
    """Raises RequestError unless it is a bounded ``funlib.geometry.Roi``."""
    if not isinstance(roi, Roi):
        raise RequestError("not a roi", found=quoted(roi), allowed="a funlib.geometry.Roi", path=path)
    if roi.unbounded or None in roi.offset:
        raise RequestError("the roi is unbounded", found=roi, path=path)
    if any(size < 0 for size in roi.shape):
        raise RequestError("the roi has a negative size", found=roi, path=path)


def region_of(roi: Any, meta: Meta, *path: str) -> Region:
    """The region of a roi, which may reach outside of the array. Raises RequestError."""
    require_roi(roi, *path)
    region = Region.of(roi)
    if roi.dims != meta.dims or not meta.on_grid(region):
        raise RequestError(
            "the roi is not on the voxel grid",
            found=str(region),
            allowed=f"{meta.dims} axes, steps of {tuple(meta.voxel_size)} from {meta.region.begin}",
            path=path,
        )
    return region


def require_memory(region: Region, meta: Meta, *path: str) -> None:
    """Raises RequestError where the system cannot give memory for the voxels of a region."""
    shape = meta.shape_of(region)
    try:
        np.empty(shape, meta.dtype)
    except (MemoryError, ValueError):  # a ValueError beyond any address
        raise RequestError(
            "memory cannot hold the voxels that were asked for",
            found=f"shape {shape}, {meta.dtype}",
            allowed="smaller parts, or materialize",
            path=path,
        ) from None


def region_inside(roi: Any, meta: Meta, *path: str) -> Region:
    """The region of a roi, which must lie within the array. Raises RequestError."""
    region = region_of(roi, meta, *path)
    if region.empty or not meta.region.contains(region):
        raise RequestError(
            "the roi is empty" if region.empty else "the roi reaches outside of the array",
            found=str(region),
            allowed=f"within {meta.region}; to_ndarray(roi, fill_value=) pads",
            path=path,
        )
    return region


def as_dtype(values: Any, dtype: np.dtype[Any], *path: str) -> Voxels:
    """Numbers in a dtype. Integers must be held exactly, floats may be rounded.

    Raises:
        StoreError: Values that are not numbers, or that the dtype cannot hold.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:  # nested lists of different lengths
        raise StoreError("the values are not an array", found=str(error), path=path) from None
    if array.dtype.kind not in "buif":
        # integers beyond 64 bits are here too: numpy keeps them as objects
        raise StoreError(
            "the values are not numbers of at most 64 bits",
            found=quoted(values),
            allowed=f"what {dtype} holds exactly",
            path=path,
        )
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast, array):
        raise StoreError(
            "the values do not fit the array's dtype",
            found=f"{array.dtype} from {array.min()} to {array.max()}",
            allowed=f"what {dtype} holds exactly",
            path=path,
        )
    return cast


def broadcast(values: Voxels, shape: tuple[int, ...], *path: str) -> Voxels:
    """The values in a shape, repeated as numpy does. Raises RequestError where they do not fit it."""
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise RequestError(
            "the values do not fit the region", found=f"shape {values.shape}", allowed=f"shape {shape}", path=path
        ) from None
