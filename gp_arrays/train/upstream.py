"""What a node in a hand-written pipeline knows of the arrays that come from upstream: metas, and names of axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate

from ..errors import TreeError, quoted
from ..model.base import ArrayConfig
from ..model.meta import CHANNEL, Block, Meta, Region, interpolatable

#: The axis that ``gp.Stack`` puts in front.
SAMPLE = "s"

#: Names of axes, first to last; None for an axis of unknown meaning.
Names = tuple[str | None, ...]


@attrs.frozen(eq=False, repr=False)
class Upstream(ArrayConfig):
    """Stands, in the config of a node, for an array that comes from upstream."""

    #: No array type of its own: a tree file cannot ask for it.
    abstract: ClassVar[bool] = True


def upstream(key: gp.ArrayKey) -> Upstream:
    """The config that stands for the array of a key."""
    if not isinstance(key, gp.ArrayKey):
        raise TreeError("the sources of a node must be array keys", found=quoted(key), allowed="a gunpowder.ArrayKey")
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


class NamesAxes:
    """A node that knows the non-spatial axes of what it provides."""

    def axis_names(self, key: gp.ArrayKey, count: int) -> Names | None:
        """The names of ``count`` non-spatial axes of an array; None if the node does not provide it."""
        raise NotImplementedError


def axis_names(provider: gp.BatchProvider, key: gp.ArrayKey, count: int) -> Names:
    """The names of the ``count`` non-spatial axes that an array has downstream of a provider.

    They are followed upstream, along the branches that provide the key, to the node that
    provides it first. Of an array from a node that is not of this library, one axis is
    channels and two are samples and channels, unless samples were stacked before that node.
    """
    if isinstance(provider, NamesAxes):
        names = provider.axis_names(key, count)
        if names is not None:
            return names
    branches = [p for p in provider.get_upstream_providers() if p.spec is not None and key in p.spec]
    if not branches:
        return (None,) * count if _changes_axes(provider) else _by_convention(count)
    if isinstance(provider, gp.Stack):
        return (SAMPLE, *axis_names(branches[0], key, count - 1)) if count else ()
    if isinstance(provider, gp.Unsqueeze) and key in provider.arrays:
        names = axis_names(branches[0], key, max(count - 1, 0))
        return (*names[: provider.axis], None, *names[provider.axis :])[:count]
    if isinstance(provider, gp.Squeeze) and key in provider.arrays:
        names = axis_names(branches[0], key, count + 1)
        return names[: provider.axis] + names[provider.axis + 1 :]
    answers = {axis_names(branch, key, count) for branch in branches}
    return answers.pop() if len(answers) == 1 else (None,) * count


def _by_convention(count: int) -> Names:
    return (SAMPLE, CHANNEL)[-count:] if 0 < count <= 2 else (None,) * count


def _changes_axes(provider: gp.BatchProvider) -> bool:
    """True if samples are stacked or axes added anywhere upstream of a node."""
    return any(
        isinstance(upstream, (gp.Stack, gp.Unsqueeze, gp.Squeeze)) or _changes_axes(upstream)
        for upstream in provider.get_upstream_providers()
    )
