"""Instances of several label volumes in one, each keeping an id of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, ConfigError, RequestError, TreeError, quoted
from ..model import fields
from ..model.base import ArrayConfig
from ..model.checks import common_grid, require_ids
from ..model.config import SOURCE
from ..model.meta import Block, Meta, Region, Voxels, voxel_text

#: By default the offsets are multiples of it, so that each source has ids up to it.
SPACING = 2**40
LARGEST = 2**64 - 1
OVERLAPS = ("first", "last", "error")


def merge(labels: Sequence[Voxels], offsets: Sequence[int], last_wins: bool = False) -> Voxels:
    """uint64: ids above 0 plus their source's offset; 0 where no source has one.

    Where several have one the first wins, or the last.

    >>> merge([np.array([0, 1, 1]), np.array([2, 2, 0])], [0, 10]).tolist()
    [12, 1, 1]
    """
    out = np.zeros(labels[0].shape, np.uint64)
    pairs = list(zip(labels, offsets, strict=True))
    # the winner is written last
    for ids, offset in pairs if last_wins else reversed(pairs):
        np.add(ids, np.uint64(offset), out=out, where=ids != 0, dtype=np.uint64, casting="unsafe")
    return out


def invalid_id(labels: Voxels, largest: int) -> tuple[int, ...] | None:
    """The index of a label that is negative or above ``largest``, None where there is none.

    >>> invalid_id(np.array([[0, 7]]), 6)
    (0, 1)
    """
    info = np.iinfo(labels.dtype)
    if labels.size == 0 or (info.min == 0 and info.max <= largest):
        return None
    low, high = (0 if info.min == 0 else int(labels.min())), int(labels.max())
    if low >= 0 and high <= largest:
        return None
    at = labels.argmin() if low < 0 else labels.argmax()
    return tuple(int(i) for i in np.unravel_index(at, labels.shape))


def overlap_of(labels: Sequence[Voxels]) -> tuple[tuple[int, ...], int, int] | None:
    """The index of a voxel where two sources have an id, and which two; None where there is none.

    >>> overlap_of([np.array([1, 0, 1]), np.array([0, 2, 2])])
    ((2,), 0, 1)
    """
    taken = labels[0] != 0
    for k, source in enumerate(labels[1:], 1):
        there = source != 0
        both = taken & there
        if both.any():
            index = tuple(int(i) for i in np.unravel_index(both.argmax(), both.shape))
            return index, next(j for j in range(k) if labels[j][index] != 0), k
        taken |= there
    return None


def to_offsets(value: Any) -> tuple[int, ...] | None:
    """attrs converter: integers, or None."""
    if value is None:
        return None
    return tuple(fields.to_integer(item) for item in fields.items_of(value, "integers"))


@attrs.frozen(eq=False, repr=False)
class MergeInstancesArrayConfig(ArrayConfig):
    """The instances of several label volumes in one uint64 volume; the roi is their intersection.

    Offset k is added to the ids of source k; id 0 is background. A source may have ids from 1 to the next larger
    offset minus its own; with the largest offset, up to 2^64 - 1 minus that. ``source_of_id`` tells from which
    source an id comes.

    Args:
        name: The array's name.
        source_array_configs: Integer ids, without channels, never averaged.
        id_offsets: One for each source, all different, from 0 to 2^64 - 2; by default 0, 2^40, 2 * 2^40, ...
        overlap: Where several sources have an instance, the ``"first"`` or the ``"last"`` of
            them wins; ``"error"`` makes it a ComputeError.

    Raises:
        ComputeError: An id that is negative or too large for its source and, with ``overlap="error"``, an
            overlap, with the position in world units. Ids that are too large (2^59, for example) need a
            RelabelArrayConfig with a table of ``gp_arrays.dense_table`` before they are merged.

    >>> import gp_arrays as gpa, numpy as np
    >>> cells = gpa.NumpyArrayConfig("cells", data=np.array([[0, 1, 1]], np.uint64))
    >>> other = gpa.NumpyArrayConfig("other", data=np.array([[5, 5, 0]], np.uint8))
    >>> both = gpa.MergeInstancesArrayConfig("both", [cells, other], id_offsets=[0, 1000])
    >>> both.array()[:].tolist(), gpa.source_of_id(both, 1005)
    ([[1005, 1, 1]], ('other', 5))
    """

    keeps_constant = True

    source_array_configs: tuple[ArrayConfig, ...] = attrs.field(metadata=SOURCE, converter=fields.to_configs)
    id_offsets: tuple[int, ...] | None = attrs.field(default=None, converter=to_offsets)
    overlap: str = attrs.field(default="first", validator=fields.one_of(*OVERLAPS))

    def check(self) -> None:
        names = [config.name for config in self.source_array_configs]
        offsets = self.offsets
        if len(offsets) != len(names):
            raise ConfigError(
                "id_offsets does not have one offset per source",
                found=f"{len(offsets)} for {', '.join(names)}",
                allowed=len(names),
            )
        if any(not 0 <= offset < LARGEST for offset in offsets):
            raise ConfigError("an id offset is out of range", found=list(offsets), allowed=f"0 to {LARGEST - 1}")
        if len(set(offsets)) != len(offsets):
            raise ConfigError("id_offsets are not all different", found=list(offsets))

    @property
    def offsets(self) -> tuple[int, ...]:
        """What is added to the ids of each source."""
        if self.id_offsets is not None:
            return self.id_offsets
        return tuple(k * SPACING for k in range(len(self.source_array_configs)))

    @property
    def largest_ids(self) -> tuple[int, ...]:
        """The largest id that each source may have."""
        return tuple(
            min((other - offset for other in self.offsets if other > offset), default=LARGEST - offset)
            for offset in self.offsets
        )

    def infer(self, *sources: Meta) -> Meta:
        for config, source in zip(self.source_array_configs, sources, strict=True):
            try:
                require_ids(source, "MergeInstances")
            except TreeError as error:
                raise TreeError(f"source {config.name}: {error.problem}", error.found, error.allowed) from None
        meta = common_grid(sources, [config.name for config in self.source_array_configs])
        return attrs.evolve(
            meta, dtype=np.uint64, interpolatable=False, attrs=sources[0].attrs if len(sources) == 1 else {}
        )

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        labels = [block.data for block in blocks if block is not None]
        for config, source, largest in zip(self.source_array_configs, labels, self.largest_ids, strict=True):
            at = invalid_id(source, largest)
            if at is not None:
                raise ComputeError(
                    f"an id of {config.name} is out of range",
                    found=f"{source[at]} at {voxel_text(region, meta, at)}",
                    allowed=f"1 to {largest}, as id_offsets are {list(self.offsets)}; set id_offsets, or make the ids "
                    "small: RelabelArrayConfig with a table of gp_arrays.dense_table",
                )
        if self.overlap == "error" and (overlap := overlap_of(labels)) is not None:
            at, *pair = overlap
            ids = [f"{labels[k][at]} of {self.source_array_configs[k].name}" for k in pair]
            raise ComputeError(
                "instances overlap",
                found=f"{' and '.join(ids)} at {voxel_text(region, meta, at)}",
                allowed='overlap="first" or "last"',
            )
        return merge(labels, self.offsets, self.overlap == "last")


def source_of_id(config: MergeInstancesArrayConfig, id: int) -> tuple[str, int]:
    """The name of the source that an id of merged instances came from, and its id there.

    Args:
        config: The merged instances.
        id: One of their ids.

    Raises:
        RequestError: An id that no source can have, such as 0.
    """
    if not isinstance(config, MergeInstancesArrayConfig):
        raise RequestError("not a MergeInstancesArrayConfig", found=quoted(config))
    id = fields.to_integer(id)
    for source, offset, largest in zip(config.source_array_configs, config.offsets, config.largest_ids, strict=True):
        if 0 < id - offset <= largest:
            return source.name, id - offset
    raise RequestError("no source has that id", found=id, path=(config.name,))
