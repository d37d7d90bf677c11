"""What a node in a hand-written pipeline knows of the arrays that come from upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate

from ..errors import TreeError, quoted
from ..model.base import ArrayConfig
from ..model.meta import Block, Meta, Region, interpolatable


@attrs.frozen(eq=False, repr=False)
class Upstream(ArrayConfig):
    """Stands, in the config of a node, for an array that comes from upstream."""

    #: No array type of its own: a tree file cannot ask for it.
    abstract: ClassVar[bool] = True


def upstream(key: gp.ArrayKey) -> Upstream:
    """The config that stands for the array of a key."""
    if not isinstance(key, gp.ArrayKey):
        raise TreeError("a node reads from array keys", found=quoted(key), allowed="a gunpowder.ArrayKey")
    return Upstream(str(key))


def block_of(array: gp.Array, sample: tuple[int, ...], part: Region, meta: Meta) -> Block:
    """The voxels of a part of one sample of an array."""
    if not meta.dims:
        return Block(array.data[sample], part, meta)
    view = Block(array.data[sample], Region.of(array.spec.roi), meta).crop(part.whole()).view()
    view.flags.writeable = False
    return Block(view, part.whole(), meta)


def meta_of(spec: gp.ArraySpec, attributes: Mapping[str, Any]) -> Meta:
    """What a gunpowder spec, and attributes told beside it, say of an array from somewhere upstream."""
    unknown = spec.roi is None or spec.roi.unbounded or None in spec.roi.offset
    if spec.nonspatial:
        voxel_size = Coordinate(())
    elif spec.voxel_size is not None:
        voxel_size = spec.voxel_size
    else:
        dims = spec.roi.dims if spec.roi is not None else 3
        voxel_size = Coordinate((1,) * dims)
    return Meta(
        roi=None if unknown else spec.roi,
        voxel_size=voxel_size,
        spatial_axes=tuple("zyx"[-len(voxel_size) :])
        if 0 < len(voxel_size) <= 3
        else tuple(f"d{i}" for i in range(len(voxel_size))),
        dtype=spec.dtype,
        nonspatial=None,
        interpolatable=_may_interpolate(spec),
        attrs=attributes,
    )


def _may_interpolate(spec: gp.ArraySpec) -> bool:
    """What a spec says of it, else the rule by dtype; of an unknown dtype a batch tells."""
    if spec.interpolatable is not None:
        return bool(spec.interpolatable)
    return spec.dtype is None or interpolatable(np.dtype(spec.dtype))
