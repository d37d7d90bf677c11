"""What every array type says about itself: its meta, the context it reads, its voxels."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from funlib.geometry import Coordinate

from ..errors import StoreError, TreeError
from ..units import Quantity, whole
from .config import Config, changed
from .meta import Axis, Block, Meta, Region, world_text


@attrs.frozen(eq=False, repr=False)
class ArrayRules(Config):
    """The rules of an array type that is computed from other arrays.

    A type states three things: ``infer`` (what the result is, from what its sources
    are), ``context`` (which regions of the sources a region of the result needs) and
    ``compute`` (its voxels, from those of the sources). The direct evaluation and the
    gunpowder nodes both call these and nothing else.
    """

    abstract: ClassVar[bool] = True
    #: Whether ``context`` and ``compute`` understand a region that takes only part of
    #: the non-spatial axes. Where not, they are asked for all and the result is cropped.
    supports_channel_subset: ClassVar[bool] = False
    #: Whether the values say yes or no (not 0, or 0), where dtype uint8 could also mean ids.
    is_mask: ClassVar[bool] = False
    #: Whether sources that are one value each throughout a context give one value throughout
    #: the region, the same wherever it is: blocks over absent chunks need no computing then.
    keeps_constant: ClassVar[bool] = False
    #: Whether it shows about what its one source shows at the same place, with the same dtype
    #: and non-spatial axes: a view that is zoomed far out may then look at the source instead.
    viewable_as_source: ClassVar[bool] = False
    #: The name of its gunpowder node, where it is not that of the class without "ArrayConfig".
    node_name: ClassVar[str | None] = None
    #: Attributes of the source that ``infer`` reads. Array keys of gunpowder carry none, so the
    #: node takes each as an argument of that name.
    node_attributes: ClassVar[tuple[str, ...]] = ()
    #: Fields that may be left out of the node's arguments: their values, from the other fields.
    node_defaults: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def infer(self, *sources: Meta) -> Meta:
        """The meta of the result. Raises TreeError where the sources do not fit."""
        raise NotImplementedError(f"{type(self).__name__} states no meta rule")

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        """The region of each source that ``region`` needs; None for one that is not read."""
        return [
            region if self.supports_channel_subset and alike(source.nonspatial, meta.nonspatial) else region.whole()
            for source in sources
        ]

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        """The voxels of ``region``, of ``meta.dtype``, from blocks that cover its context.

        A source that ``context`` does not read has None for a block. Blocks are not to
        be modified.
        """
        raise NotImplementedError(f"{type(self).__name__} states no kernel")

    def fingerprints(self) -> dict[str, str]:
        """Hashes of the files and functions that decide the voxels beside the fields, by their names.

        A job keeps them and refuses to go on where one has changed. What a source says of its
        store's metadata is not among them: see ``Opened.fingerprint``.
        """
        return {}

    def reason(self) -> str | None:
        """Why ``verify`` is to say no although the tree compiles, or None."""
        return None


@attrs.frozen(eq=False)
class Stored:
    """Which chunks of a source exist; all other voxels are ``fill``.

    Attributes:
        size: Voxels of a chunk, in the order of the source's ``shape``.
        index: Where those that exist are in the grid of chunks, one row for each.
        fill: What the voxels of the others are.
    """

    size: tuple[int, ...]
    index: np.ndarray[Any, Any]
    fill: Any


def alike(one: Sequence[Axis] | None, other: Sequence[Axis] | None) -> bool:
    """Whether an index means the same on the non-spatial axes of both, whatever names their entries have."""
    if one is None or other is None:
        return one is other
    return [(axis.name, axis.size) for axis in one] == [(axis.name, axis.size) for axis in other]


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
    place: str
    #: Voxels of a chunk in the order of ``shape``, None where there are none.
    chunks: tuple[int, ...] | None = None
    #: The last region shrinks to whole steps of this, where given.
    snap_to_grid: tuple[Quantity, ...] | None = None
    writable: bool = False

    @abc.abstractmethod
    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Voxels of a box, in native byte order. Raises StoreError."""

    def write(self, index: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        raise StoreError("this array cannot be written", found=self.place)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        raise StoreError("this array takes no metadata", found=self.place)

    @property
    def data(self) -> Any:
        """The store's own array, read lazily."""
        raise StoreError("this array has no data of its own", found=self.place)

    def folders(self) -> Sequence[Path]:
        """The arrays on disk that it reads. None by default."""
        return ()

    def coarser(self) -> Sequence[Opened]:
        """Stored copies of the same voxels at larger voxel sizes, finest first.

        They have its axes and dtype, and each tells its own geometry. None by default.
        """
        return ()

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
            if quantities is None:
                continue
            numbers = [whole(quantity, unit) for quantity in quantities]
            if any(number is None for number in numbers):
                raise NotWhole(
                    f"its {what} is not a whole number of {unit}",
                    found=f"({', '.join(map(str, quantities))})",
                )
            lengths[what] = tuple(number for number in numbers if number is not None)
        for what, values in lengths.items():
            dims = len(self.spatial_axes)
            if len(values) != dims:
                raise TreeError(
                    f"its {what} does not have one length per spatial axis",
                    found=values,
                    allowed=f"{dims}: {', '.join(self.spatial_axes)}",
                )
            if what != "offset" and any(value <= 0 for value in values):
                raise TreeError(f"its {what} must be positive", found=world_text(values, unit))
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
        """Where a region lies in the store."""
        begin = [int(quantity.to(unit)) for quantity in self.offset]
        spatial = tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(region.begin, region.end, begin, meta.voxel_size, strict=True)
        )
        return tuple(slice(a, b) for a, b in meta.nonspatial_ranges(region)) + spatial


class NotWhole(TreeError):
    """A length that is not whole in the unit of the tree."""


@attrs.frozen(eq=False, repr=False)
class SourceRules(ArrayRules):
    """The rules of an array type that is read from somewhere."""

    abstract: ClassVar[bool] = True
    supports_channel_subset: ClassVar[bool] = True

    def open(self, mode: str | None = None) -> Opened:
        """Open it without reading a voxel. Raises StoreError."""
        raise NotImplementedError(f"{type(self).__name__} opens nothing")

    def located(self, base: Path) -> SourceRules:
        """The same source with relative paths taken from ``base``."""
        return self


def located(roots: Mapping[str, ArrayRules], base: Path) -> dict[str, ArrayRules]:
    """Trees whose sources are found from any working directory: relative paths are taken from ``base``."""
    found: Any = changed(
        roots.values(), lambda config: config.located(base) if isinstance(config, SourceRules) else config
    )
    return dict(zip(roots, found, strict=True))


def common_grid(sources: Sequence[Meta], names: Sequence[str]) -> Meta:
    """The grid that several arrays share and the intersection of their rois.

    Returns the first source's meta with that roi. Raises TreeError where unit, voxel
    size, number or order of axes or the grid's origin differ, or where the rois do not overlap.
    """
    first, region = sources[0], None
    for meta, name in zip(sources, names, strict=True):
        for what in ("dims", "voxel_size", "unit"):
            a, b = getattr(first, what), getattr(meta, what)
            if a != b:
                raise TreeError(
                    f"{what.replace('_', ' ')} of the sources differ",
                    found=f"{names[0]} {a}, {name} {b}",
                    allowed="the same for all sources",
                )
        names_of = first.spatial_axes, meta.spatial_axes
        if names_of[0] != names_of[1] and sorted(names_of[0]) == sorted(names_of[1]):
            raise TreeError(
                "the spatial axes of the sources come in another order",
                found=f"{names[0]} {','.join(names_of[0])}, {name} {','.join(names_of[1])}",
                allowed="the same order for all sources; `axes=` overrides names",
            )
        if first.origin != meta.origin and first.roi is not None and meta.roi is not None:
            raise TreeError(
                "the voxel grids of the sources are shifted against each other",
                found=f"{names[0]} begins at {first.roi.begin}, {name} at {meta.roi.begin}, "
                f"voxel size {first.voxel_size}",
                allowed="begins that differ by whole voxels; `offset=` overrides a source's",
            )
        if meta.roi is not None:
            region = meta.region if region is None else region.intersect(meta.region)
    if region is not None and region.empty:
        rois = ", ".join(f"{name} {m.region}" for m, name in zip(sources, names, strict=True) if m.roi)
        raise TreeError("the rois of the sources do not overlap", found=rois)
    base = next((meta for meta in sources if meta.roi is not None), first)
    # whichever comes first, the same: of corners that agree it is the one of the largest voxels
    phases = [meta.phase for meta in sources if meta.phase is not None]
    phase = tuple(map(max, *phases)) if len(phases) > 1 else next(iter(phases), None)
    return attrs.evolve(base, roi=None if region is None else region.roi, phase=phase)


def require_ids(meta: Meta, what: str) -> None:
    """Raises TreeError unless the array holds ids: integers without channels, never averaged."""
    if meta.dtype is not None and meta.dtype.kind not in "ui":
        raise TreeError(f"{what} reads ids", found=f"dtype {meta.dtype}", allowed="an integer dtype")
    if meta.averaged:
        raise TreeError(
            f"{what} reads ids, and averaged or interpolated ids are none",
            found="a source resampled with an order above 0 or by mean",
            allowed='interp_order=0 or downsample_by="mode"',
        )
    require_no_nonspatial_axes(meta, what)


def require_no_nonspatial_axes(meta: Meta, what: str) -> None:
    """Raises TreeError where the array has channels, samples or times."""
    if meta.nonspatial:
        axes = ", ".join(f"{axis.name} ({axis.size})" for axis in meta.nonspatial)
        raise TreeError(
            f"{what} takes a source without channels or other non-spatial axes",
            found=f"axes {axes}",
            allowed="spatial axes only; SelectArrayConfig picks one",
        )
