"""Pyramids: coarser levels of an output, which are computed from the level below, and their OME-NGFF attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
import numpy as np

from ..errors import ConfigError, quoted
from ..model.base import ArrayConfig
from ..model.meta import Meta
from ..sources.zarr_ import ZarrArrayConfig
from ..storage.access.remote import RemotePath, StorePath
from ..storage.metadata.attributes import written_unit
from ..transforms.resample import ResampledArrayConfig
from ..units import Quantity
from .geometry import BASE_MEMORY, Level, Output, Pass, file_name, no_memory

#: How a voxel of a level is computed from those below it.
METHODS = ("mean", "mode", "nearest")
MOST_LEVELS = 12
#: The names of units in OME-NGFF.
_UNITS = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}


@attrs.frozen(eq=False, repr=False)
class LevelConfig(ResampledArrayConfig):
    """A level of a pyramid: coarser by 1 or 2 along each axis, and it covers all of the level below.

    So its last voxel along an axis may reach beyond the level below. It is computed from the voxels that exist there:
    where the second of two is missing the first is repeated, which changes neither their mean nor their mode.
    """

    abstract: ClassVar[bool] = True

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        meta = super().infer(source)
        return attrs.evolve(meta, roi=source.region.snap(meta.voxel_size, source.origin).roi)


def default_method(meta: Meta, config: ArrayConfig) -> str:
    """The method for the levels of an array: mean for intensities, nearest for masks, mode for labels."""
    if config.is_mask or meta.dtype == np.dtype(bool):
        return "nearest"
    return "mean" if meta.interpolatable else "mode"


def factors(meta: Meta, chunks: Sequence[int]) -> tuple[int, ...] | None:
    """How many voxels become one in the next level, along each spatial axis; None if the level fits into one chunk.

    An axis with larger voxels than the others stays as it is until the voxels are about cubic.
    """
    spatial = chunks[-meta.dims :]
    if all(n <= c for n, c in zip(meta.spatial_shape, spatial, strict=True)):
        return None
    finest = min(int(v) for v, n in zip(meta.voxel_size, meta.spatial_shape, strict=True) if n > 1)
    steps = tuple(
        2 if n > 1 and 2 * int(v) <= 3 * finest else 1 for v, n in zip(meta.voxel_size, meta.spatial_shape, strict=True)
    )
    return steps if any(step > 1 for step in steps) else None


def level_roots(pass_: Pass, root: StorePath) -> dict[str, ArrayConfig]:
    """The tree that a level of a pyramid is computed from, once the level below it is written.

    Levels are computed as if the pyramid began at 0, because the voxel grids of all levels have a corner there.
    """
    assert pass_.level is not None
    (output,) = pass_.outputs
    level, dims = pass_.level, output.meta.dims
    below = ZarrArrayConfig(
        "below",
        str(root),
        level.below,
        storage_options=root.options if isinstance(root, RemotePath) else None,
        offset=(0,) * dims,
        interpolatable=level.method == "mean",
        axes=output.meta.axes,
    )
    coarser = LevelConfig(
        output.dataset, below, (1,) * dims, level.factors, int(level.method == "mean"), downsample_by=level.method
    )
    return {output.dataset: coarser}


def plan_levels(base: Pass, output: Output, group: str, method: str, memory: int) -> list[Pass]:
    """The passes of the levels above an output. Nothing is written.

    Args:
        base: The pass that the output is a part of.
        output: The finest level.
        group: The dataset that becomes the multiscale group.
        method: One of METHODS.
        memory: How many bytes a worker may use.

    Raises:
        ConfigError: The method is unknown or does not suit the values, or OME-NGFF does not have such axes.
        TreeError: A block needs more than the memory.
    """
    if method not in METHODS:
        raise ConfigError("unknown method of a pyramid", found=quoted(method), allowed=", ".join(("auto", *METHODS)))
    _require_ngff(output.meta, group or output.dataset)
    if method == "mean" and not output.meta.interpolatable:
        raise ConfigError(
            "values that are not interpolatable have no mean",
            found=f"dtype {output.meta.dtype}",
            allowed="mode, nearest",
            path=(output.dataset,),
        )
    levels: list[Pass] = []
    below, after = output, base
    while len(levels) < MOST_LEVELS:
        by = factors(below.meta, below.chunks)
        if by is None:
            break
        meta = _coarser(below.meta, by)
        name = f"{group}/s{len(levels) + 1}".strip("/")
        stored = Output(name, meta, below.chunks, below.shards)
        pass_ = _pass(stored, base, Level(after.name, below.dataset, by, method))
        # the voxels that a block reads and writes, and as many again while they are computed
        region = pass_.region((0,) * meta.dims)
        twice = 2 * (below.meta.bytes_of(region) + meta.bytes_of(region))
        needed = BASE_MEMORY + max(twice, meta.bytes_of(region) + stored.buffer)
        if needed > memory:
            raise no_memory("a block of a pyramid's level", needed, f"{pass_.block} {meta.unit}", memory, (name,))
        levels.append(pass_)
        below, after = stored, pass_
    return levels


def _require_ngff(meta: Meta, dataset: str) -> None:
    """Raises ConfigError if OME-NGFF, 0.4 or 0.5, does not allow such axes."""
    nonspatial = [axis.name for axis in meta.nonspatial or ()]
    if meta.dims not in (2, 3):
        rule = "has 2 or 3 spatial axes"
    elif "t" in nonspatial[1:]:
        rule = "begins with time, where there is time"
    elif len(nonspatial) - nonspatial.count("t") > 1:
        rule = "has one axis between time and space at most"
    else:
        return
    raise ConfigError(
        f"an OME-NGFF pyramid {rule}",
        found=f"axes {', '.join(meta.axes)}",
        allowed="t, then c or one axis of another kind, then 2 or 3 spatial axes",
        path=(dataset,),
    )


def _coarser(meta: Meta, by: Sequence[int]) -> Meta:
    """The meta of the level above, which covers all of this one."""
    voxel_size = type(meta.voxel_size)(int(v) * f for v, f in zip(meta.voxel_size, by, strict=True))
    return attrs.evolve(meta, roi=meta.region.snap(voxel_size, meta.region.begin).roi, voxel_size=voxel_size)


def _pass(output: Output, base: Pass, level: Level) -> Pass:
    # about as large as a block of the finest level, in world units, so that it needs no more memory
    block = tuple(-(-b // s) * s for b, s in zip(base.block, output.write_size, strict=True))
    extent = output.meta.region.shape
    grid = tuple(-(-e // b) for e, b in zip(extent, block, strict=True))
    return Pass(file_name([output.dataset]), (output,), output.meta.region.begin, block, grid, level)


def multiscale(
    metas: Sequence[Meta], paths: Sequence[str], name: str, version: str, method: str | None
) -> dict[str, Any]:
    """The OME-NGFF attributes of a group whose arrays are the levels of a pyramid.

    Translations mark voxel centres: the translation of level k is its corner plus (scale_k - scale_0) / 2.
    Axes without a type in OME-NGFF, such as samples, are written without a type.
    """
    first = metas[0]
    kinds = {"c": "channel", "t": "time"}
    axes: list[dict[str, str]] = [
        {"name": axis.name, **({"type": kinds[axis.name]} if axis.name in kinds else {})}
        for axis in first.nonspatial or ()
    ]
    unit = written_unit(first.unit)
    axes += [{"name": axis, "type": "space", "unit": _UNITS[unit]} for axis in first.spatial_axes]
    finest = [Quantity.parse(int(v), first.unit).to(unit) for v in first.voxel_size]
    datasets = []
    ones, zeros = [1.0] * len(first.nonspatial or ()), [0.0] * len(first.nonspatial or ())
    for meta, path in zip(metas, paths, strict=True):
        scale = [Quantity.parse(int(v), first.unit).to(unit) for v in meta.voxel_size]
        centre = [
            Quantity.parse(b, first.unit).to(unit) + (v - v0) / 2
            for b, v, v0 in zip(meta.region.begin, scale, finest, strict=True)
        ]
        datasets.append(
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": ones + list(map(float, scale))},
                    {"type": "translation", "translation": zeros + list(map(float, centre))},
                ],
            }
        )
    image: dict[str, Any] = {"name": name, "axes": axes, "datasets": datasets}
    if method is not None:
        image["type"] = method
    described: dict[str, Any] = {"multiscales": [image]}
    channels = None if first.channel_axis is None else first.channel_axis.labels
    if channels is not None:
        described["omero"] = {"channels": [_channel(label, i, first) for i, label in enumerate(channels)]}
    if first.channel_axis is None and first.dtype is not None and not first.interpolatable and first.dtype.kind in "ui":
        described["image-label"] = {"version": version}
    if version == "0.4":
        image["version"] = version
        return described
    return {"ome": {"version": version, **described}}


def _channel(label: str, index: int, meta: Meta) -> dict[str, Any]:
    colours = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF")
    top = (
        1 if meta.dtype is None or meta.dtype.kind in "bf" or not meta.interpolatable else int(np.iinfo(meta.dtype).max)
    )
    window = {"min": 0, "max": top, "start": 0, "end": top}
    return {"label": label, "color": colours[index % len(colours)], "window": window, "active": True}
