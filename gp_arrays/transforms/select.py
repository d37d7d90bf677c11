"""Some channels, samples or times of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, nearest, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels

Picked = int | tuple[int, ...]


def span(entries: Sequence[int]) -> tuple[int, int]:
    """The smallest range that holds some entries.

    >>> span([4, 2]), span([])
    ((2, 5), (0, 0))
    """
    return (min(entries), max(entries) + 1) if entries else (0, 0)


def take(data: Voxels, entries: Sequence[int], first: int, axis: int) -> Voxels:
    """Entries of an axis in their order, from data that begin with entry ``first``. A view where they follow each other.

    >>> take(np.array([[5, 6], [7, 8]]), [3, 2], 2, 0).tolist()
    [[7, 8], [5, 6]]
    """
    begin, end = span(entries)
    if list(entries) == list(range(begin, end)):
        return data[(slice(None),) * axis + (slice(begin - first, end - first),)]
    return np.take(data, [entry - first for entry in entries], axis)


def to_channels(value: Any) -> str | int | tuple[str | int, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if fields.is_integer(value):
        return int(value)
    items = fields.items_of(value, "channels") if isinstance(value, Sequence) else ()
    if not items or not all(isinstance(item, str) or fields.is_integer(item) for item in items):
        allowed = '"axon", 2, or a list of such'
        raise ConfigError("channels are not names or indices", found=quoted(value), allowed=allowed)
    return tuple(item if isinstance(item, str) else int(item) for item in items)


def to_at(value: Any) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and fields.is_integer(index) for key, index in value.items()
    ):
        raise ConfigError("at is not a mapping of axes to indices", found=quoted(value), allowed='such as {"t": 0}')
    return {key: int(index) for key, index in value.items()}


@attrs.frozen(eq=False, repr=False)
class SelectArrayConfig(OneSourceConfig):
    """Some channels, samples or times of an array. The others are not read.

    Args:
        name: The array's name.
        source_array_config: An array with non-spatial axes.
        channels: A list of names or indices gives these channels in the order of the list. One name or one
            index without a list gives this channel, and the result has no channel axis.
        at: For other non-spatial axes, the index to take, such as ``{"t": 0}``. The result does not have
            these axes.

    Raises:
        TreeError: A channel, an axis or an index that the source does not have, or a channel given twice.

    >>> import gp_arrays as gpa, numpy as np
    >>> two = gpa.NumpyArrayConfig("two", data=np.array([[[1]], [[2]]]), axes=("c", "y", "x"))
    >>> gpa.SelectArrayConfig("second", two, channels=1).array()[:]
    array([[2]])
    """

    keeps_constant = True
    supports_channel_subset = True

    channels: str | int | tuple[str | int, ...] | None = attrs.field(default=None, converter=to_channels)
    at: dict[str, int] = attrs.field(default=None, converter=to_at)

    def check(self) -> None:
        if self.channels is None and not self.at:
            raise ConfigError("nothing is selected", allowed="channels or at")
        if self.channels is not None and CHANNEL in self.at:
            raise ConfigError("channels are selected twice", found=f"channels={self.channels!r}, at={self.at!r}")

    def picks(self, source: Meta) -> list[Picked]:
        """The entries of each non-spatial axis of the source: one alone drops the axis."""
        nonspatial = source.nonspatial or ()
        selected: dict[str, Any] = dict(self.at)
        if self.channels is not None:
            selected[CHANNEL] = self.channels
        names = [axis.name for axis in nonspatial]
        unknown = [name for name in selected if name not in names]
        if unknown:
            raise TreeError(
                f"the source has no axis {', '.join(unknown)}", allowed=", ".join(names) or "no non-spatial axes"
            )
        return [_pick(selected.get(axis.name, tuple(range(axis.size))), axis) for axis in nonspatial]

    def infer_from(self, source: Meta) -> Meta:
        if source.nonspatial is None:
            return source
        nonspatial = []
        for axis, pick in zip(source.nonspatial, self.picks(source), strict=True):
            if not isinstance(pick, int):
                labels = None if axis.labels is None else tuple(axis.labels[i] for i in pick)
                nonspatial.append(Axis(axis.name, len(pick), labels))
        return attrs.evolve(source, nonspatial=tuple(nonspatial))

    def _entries(self, region: Region, meta: Meta, source: Meta) -> list[tuple[int, ...]]:
        """The entries of each non-spatial axis of the source that a region needs, in its order."""
        ranges = iter(meta.nonspatial_ranges(region))
        return [(pick,) if isinstance(pick, int) else pick[slice(*next(ranges))] for pick in self.picks(source)]

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        if source.nonspatial is None:
            return region.whole()
        return Region(region.begin, region.end, tuple(map(span, self._entries(region, meta, source))))

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        data = block.data
        ranges = block.meta.nonspatial_ranges(block.region)
        for axis, entries in enumerate(self._entries(region, meta, block.meta)):
            data = take(data, entries, ranges[axis][0], axis)
        dropped = [axis for axis, pick in enumerate(self.picks(block.meta)) if isinstance(pick, int)]
        return data.squeeze(tuple(dropped))


def _pick(wanted: Any, axis: Axis) -> Picked:
    if isinstance(wanted, tuple):
        picked = tuple(_index(item, axis) for item in wanted)
        if len(set(picked)) != len(picked):
            raise TreeError("a channel is selected twice", found=", ".join(map(str, wanted)))
        return picked
    return _index(wanted, axis)


def _index(item: str | int, axis: Axis) -> int:
    if isinstance(item, str):
        names = axis.names
        if item not in names:
            allowed = nearest(item, names) or ", ".join(names)
            raise TreeError("the source has no channel of that name", found=quoted(item), allowed=allowed)
        return names.index(item)
    if not -axis.size <= item < axis.size:
        raise TreeError(f"index out of range on axis {axis.name}", found=item, allowed=f"0 to {axis.size - 1}")
    return item % axis.size
