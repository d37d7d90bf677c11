"""An opened source: its geometry, and the way to its voxels."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Coordinate

from ..errors import StoreError, TreeError
from ..units import Quantity, whole_numbers
from .meta import Axis, Meta, Region, Voxels, world_text
from .urls import Url


@attrs.frozen(eq=False)
class Stored:
    """Which chunks of a source exist; all other voxels are ``fill``.

    Where there are very many chunks, an entry may stand for a box of several, at least one of which exists.

    Attributes:
        size: Voxels of a chunk (or box of chunks), in the order of the source's ``shape``.
        index: Where those that exist are in the grid of chunks, one row for each.
        fill: What the voxels of the others are.
    """

    size: tuple[int, ...]
    index: Voxels
    fill: Any


class Opened(abc.ABC):
    """An opened source: its geometry as the store tells it, and the way to its voxels.

    ``axes`` are the non-spatial axes, ``shape`` is that of the voxels as delivered: nonspatial
    axes first, spatial axes last. Lengths without a unit are in the unit of the tree.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    nonspatial: tuple[Axis, ...]
    spatial_axes: tuple[str, ...]
    voxel_size: tuple[Quantity, ...]
    offset: tuple[Quantity, ...]
    interpolatable: bool
    attrs: Mapping[str, Any]
    #: Where it is, for messages.
    location: str
    #: Voxels of a chunk in the order of ``shape``, None where there are none.
    chunks: tuple[int, ...] | None = None
    #: How its voxels are compressed, None if that is not known.
    codec: str | None = None
    #: The last region shrinks to whole steps of this, where given.
    snap_to_grid: tuple[Quantity, ...] | None = None
    writable: bool = False
    #: True if a read waits for a server: then several arrays are read side by side.
    is_remote: bool = False
    #: Who writes metadata like those that tell its voxel size, None where none do.
    dialect: str | None = None
    #: What is taken for granted, since neither its metadata nor its user say it, one line each.
    assumed: Sequence[str] = ()

    @abc.abstractmethod
    def read(self, index: tuple[slice, ...]) -> Voxels:
        """Voxels of a box, in native byte order. Raises StoreError."""

    def write(self, index: tuple[slice, ...], values: Voxels) -> None:
        raise StoreError("this array cannot be written", found=self.location)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        raise StoreError("this array takes no metadata", found=self.location)

    @property
    def data(self) -> Any:
        """The store's own array, read lazily."""
        raise StoreError("this array has no data of its own", found=self.location)

    def require_readable(self) -> None:
        """Raises StoreError for what can be told of its voxels at little cost, without reading one."""
        return

    def notices_damage(self) -> bool | None:
        """True if a bit that flips in stored voxels is an error when they are read; None where that is not known."""
        return None

    def remarks(self) -> Sequence[str]:
        """What its user should know of it, one line each."""
        return ()

    def folders(self) -> Sequence[Path | Url]:
        """The arrays that it reads, on disk or at URLs. None by default."""
        return ()

    def coarser(self) -> Sequence[Opened]:
        """Stored copies of the same voxels at larger voxel sizes, finest first.

        They have its axes and dtype, and each tells its own geometry. None by default.
        """
        return ()

    def is_finer_than(self, other: Opened) -> bool:
        """True if another array has the same axes and dtype and larger voxels: one that states no size may be any."""
        if (other.dtype, other.nonspatial, other.spatial_axes) != (self.dtype, self.nonspatial, self.spatial_axes):
            return False
        pairs = [(a.to("m"), b.to("m")) for a, b in zip(self.voxel_size, other.voxel_size, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    def fingerprint(self) -> str | None:
        """What changes when the store does, as far as can be told without reading its voxels.

        None, the default, for a source that cannot tell, such as voxels in memory.
        """
        return None

    def stored(self) -> Stored | None:
        """Which chunks exist, listed once; None, the default, where that cannot be told."""
        return None

    def chunk_of(self, index: Sequence[int]) -> tuple[str, str] | None:
        """The store key of the chunk that holds a voxel and its state, for ``why``."""
        return None

    def meta(self, unit: str) -> Meta:
        """The meta, in ``unit``. Raises TreeError where a length is not whole in it."""
        lengths: dict[str, tuple[int, ...]] = {}
        for what in ("voxel_size", "offset", "snap_to_grid"):
            quantities: tuple[Quantity, ...] | None = getattr(self, what)
            if quantities is not None:
                lengths[what] = whole_numbers(quantities, unit, f"its {what}")
        for what, values in lengths.items():
            dims = len(self.spatial_axes)
            if len(values) != dims:
                raise TreeError(
                    f"its {what} does not have one length per spatial axis",
                    found=f"{world_text(values, unit)} in {self.location}",
                    allowed=f"{dims}: {', '.join(self.spatial_axes)}",
                )
            if what != "offset" and any(value <= 0 for value in values):
                found = f"{world_text(values, unit)} in {self.location}"
                raise TreeError(f"its {what} must be positive", found, allowed="lengths above 0")
        voxel_size, offset = lengths["voxel_size"], lengths["offset"]
        voxels = self.shape[len(self.nonspatial) :]
        end = tuple(o + n * v for o, n, v in zip(offset, voxels, voxel_size, strict=True))
        region = Region(offset, end)
        if "snap_to_grid" in lengths:
            region = region.shrink(lengths["snap_to_grid"], (0,) * len(offset))
        meta = Meta(
            roi=region.roi,
            voxel_size=Coordinate(voxel_size),
            spatial_axes=self.spatial_axes,
            dtype=self.dtype,
            nonspatial=self.nonspatial,
            unit=unit,
            interpolatable=self.interpolatable,
            attrs=self.attrs,
        )
        if region.empty:
            raise TreeError("no voxel is left", found=f"roi {region}")
        edges = zip(region.begin, region.end, offset, voxel_size, strict=True)
        if any((b - o) % v or (e - o) % v for b, e, o, v in edges):
            raise TreeError(
                "snap_to_grid does not agree with the voxel grid",
                found=lengths["snap_to_grid"],
                allowed=f"multiples of {voxel_size}",
            )
        return meta

    def quantities(self) -> tuple[Quantity, ...]:
        return self.voxel_size + self.offset

    def index_of(self, region: Region, meta: Meta, unit: str) -> tuple[slice, ...]:
        """The index of a region in the stored voxels."""
        return meta.slices_of(region, [int(quantity.to(unit)) for quantity in self.offset])
