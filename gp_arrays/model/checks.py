"""What several array types ask of their sources."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..errors import TreeError
from .meta import CHANNEL, Axis, Meta


def alike(a: Sequence[Axis] | None, b: Sequence[Axis] | None) -> bool:
    """True if both have non-spatial axes of the same names and sizes, whatever the names of their entries are."""
    if a is None or b is None:
        return a is b
    return [(axis.name, axis.size) for axis in a] == [(axis.name, axis.size) for axis in b]


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


def labels_and_mask(sources: Sequence[Meta], reader: str) -> Meta:
    """The common grid of labels and, if there is a second source, of the mask that says where they are known.

    Raises TreeError unless the labels are integer ids and neither has channels.
    """
    require_ids(sources[0], reader)
    for mask in sources[1:]:
        require_no_nonspatial_axes(mask, reader)
    grid = common_grid(sources, ["source_array_config", "mask_array_config"][: len(sources)])
    return attrs.evolve(grid, attrs=sources[0].attrs if len(sources) == 1 else {})


def require_integer_ids(meta: Meta, reader: str, masks: bool = False) -> None:
    """Raises TreeError unless the array holds ids: integers, never averaged.

    Args:
        meta: Of the array.
        reader: The name of the array type that reads it, for the message.
        masks: True if bool is allowed too.
    """
    kinds, values, allowed = (
        ("uib", "labels or masks", "integers or bool") if masks else ("ui", "ids", "an integer dtype")
    )
    if meta.dtype is not None and meta.dtype.kind not in kinds:
        raise TreeError(f"{reader} reads {values}", f"dtype {meta.dtype}", allowed)
    if meta.averaged:
        raise TreeError(
            f"{reader} reads {values}, and averaged or interpolated values are not {values}",
            found="a source resampled with an order above 0 or by mean",
            allowed='interp_order=0 or downsample_by="mode"',
        )


def require_ids(meta: Meta, reader: str) -> None:
    """Raises TreeError unless the array holds ids: integers without channels, never averaged."""
    require_integer_ids(meta, reader)
    require_no_nonspatial_axes(meta, reader)


def require_no_nonspatial_axes(meta: Meta, reader: str) -> None:
    """Raises TreeError where the array has channels, samples or times."""
    if meta.nonspatial:
        axes = ", ".join(f"{axis.name} ({axis.size})" for axis in meta.nonspatial)
        raise TreeError(
            f"{reader} takes a source without channels or other non-spatial axes",
            found=f"axes {axes}",
            allowed="spatial axes only; SelectArrayConfig picks one",
        )


def require_channels_only(meta: Meta, problem: str) -> None:
    """Raises TreeError, with that problem, if the array has samples, times or other axes beside channels and space."""
    others = [axis.name for axis in meta.nonspatial or () if axis.name != CHANNEL]
    if others:
        raise TreeError(
            problem,
            found=f"{', '.join(others)} among the axes {', '.join(meta.axes)}",
            allowed="channels or none; SelectArrayConfig picks one entry of another axis",
        )
