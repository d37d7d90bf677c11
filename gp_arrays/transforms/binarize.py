"""Which voxels carry which ids."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.checks import require_ids
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from .slabs import run_starts, slabs

Groups = tuple[tuple[str, tuple[int, ...]], ...]

#: From so many ids in all groups on, looking at each run of equal labels beats comparing each label with each id.
MANY_IDS = 40


def binarize(labels: Voxels, groups: Sequence[Sequence[int]], background: int = 0) -> Voxels:
    """uint8 of shape ``(len(groups), *labels.shape)``: 1 where a label is among a group's ids.

    A group without ids is every id but ``background``, which is in no group.

    >>> binarize(np.array([0, 1, 2, 3]), [[1, 3], []]).tolist()
    [[0, 1, 0, 1], [0, 1, 1, 1]]
    """
    out = np.empty((len(groups), *labels.shape), np.uint8)
    limits = np.iinfo(labels.dtype)
    held = range(int(limits.min), int(limits.max) + 1)
    wanted = [sorted(i for i in set(ids) - {background} if i in held) if ids else None for ids in groups]
    many = sum(map(len, groups)) >= MANY_IDS
    for index in slabs(labels.shape):
        slab = labels[index]
        if many:
            flat = slab.reshape(-1)
            starts = run_starts(flat)
            runs, lengths = flat[starts], np.diff(starts, append=flat.size)
        for channel, ids in zip(out.view(bool), wanted, strict=True):
            if not many:
                _set_where(slab, ids, background, channel[index])
            else:
                listed = runs != background if ids is None else np.isin(runs, np.array(ids, labels.dtype))
                channel[index] = np.repeat(listed, lengths).reshape(slab.shape)
    return out


def _set_where(labels: Voxels, ids: Sequence[int] | None, background: int, out: Voxels) -> None:
    """Set ``out`` where a label is one of ``ids``, or, without ids, not ``background``."""
    if ids is None:
        np.not_equal(labels, background, out=out)
    elif not ids:
        out[...] = False
    else:
        np.equal(labels, ids[0], out=out)
        for wanted in ids[1:]:
            out |= labels == wanted


def to_groups(value: Any) -> Groups:
    """attrs converter: (name, ids) pairs, or a mapping of names to ids."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if isinstance(pairs, str) or not isinstance(pairs, Sequence) or not pairs:
        raise ConfigError(
            "groupings is not a list of (name, ids)", found=quoted(value), allowed='such as [("axon", [1, 2])]'
        )
    groups = []
    for pair in pairs:
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ConfigError("a grouping is not (name, ids)", found=quoted(pair))
        name, ids = pair
        if not isinstance(name, str) or not name:
            raise ConfigError("a grouping has no name", found=quoted(pair))
        ids = fields.items_of(list(ids) if isinstance(ids, Set) else ids, f"ids for grouping {name!r}")
        for i in ids:
            if not fields.is_integer(i):
                raise ConfigError(f"an id of grouping {name!r} is not an integer", found=quoted(i))
        groups.append((name, tuple(int(i) for i in ids)))
    if twice := fields.repeated([name for name, _ in groups]):
        raise ConfigError("channel names are not unique", found=", ".join(twice), allowed="each name once")
    return tuple(groups)


def require_within(ids: Sequence[int], dtype: np.dtype[Any] | None, what: str) -> None:
    """Raises TreeError for ids that an array of that dtype cannot hold."""
    if dtype is None or dtype.kind not in "ui":
        return
    info = np.iinfo(dtype)
    beyond = sorted(i for i in set(ids) if not info.min <= i <= info.max)
    if beyond:
        raise TreeError(
            f"{what} beyond the source's dtype",
            found=", ".join(map(str, beyond[:8])),
            allowed=f"{info.min} to {info.max} ({dtype})",
        )


@attrs.frozen(eq=False, repr=False)
class BinarizeArrayConfig(OneSourceConfig):
    """A uint8 channel for each group of ids: 1 where a voxel carries one of them.

    Args:
        name: The array's name.
        source_array_config: Integer ids, without channels, never averaged.
        groupings: (name, ids) pairs; the names are those of the channels. A group without
            ids is every id but ``background``.
        background: The id that is in no group, even when listed.

    Raises TreeError where an id is beyond the source's dtype.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[0, 1, 2]], np.uint64))
    >>> masks = gpa.BinarizeArrayConfig("masks", ids, groupings=[("one", [1]), ("any", [])]).array()
    >>> masks.channels, masks[:, 0].tolist()
    (('one', 'any'), [[0, 1, 0], [0, 1, 1]])
    """

    supports_channel_subset = True
    keeps_constant = True
    is_mask = True

    groupings: Groups = attrs.field(converter=to_groups)
    background: int = attrs.field(default=0, converter=fields.to_integer)

    def infer_from(self, source: Meta) -> Meta:
        require_ids(source, "Binarize")
        require_within([i for _, ids in self.groupings for i in ids], source.dtype, "ids")
        require_within([self.background], source.dtype, "background")
        names = tuple(name for name, _ in self.groupings)
        return attrs.evolve(
            source, dtype=np.uint8, nonspatial=(Axis(CHANNEL, len(names), names),), interpolatable=False
        )

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        return region.whole()

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        ((first, last),) = meta.nonspatial_ranges(region)
        return binarize(block.data, [ids for _, ids in self.groupings[first:last]], self.background)
