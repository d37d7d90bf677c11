"""Some channels, samples or times of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, nearest, quoted
from ..model import fields
from ..model.base import ArrayConfig
from ..model.config import SOURCE
from ..model.meta import CHANNEL, Axis, Block, Meta, Region

Picked = int | tuple[int, ...]


def select(data: np.ndarray[Any, Any], picks: Sequence[Picked | None]) -> np.ndarray[Any, Any]:
    """Entries along the first axes: one drops its axis, a tuple keeps it, None takes all.

    >>> select(np.arange(6).reshape(3, 2), [(2, 0)]).tolist(), select(np.arange(6).reshape(3, 2), [1]).tolist()
    ([[4, 5], [0, 1]], [2, 3])
    """
    axis = 0
    for pick in picks:
        if isinstance(pick, int):
            data = data[(slice(None),) * axis + (pick,)]
            continue
        if pick is not None:
            data = np.take(data, pick, axis=axis)
        axis += 1
    return data


def to_channels(value: Any) -> str | int | tuple[str | int, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    items = fields.items_of(value, "channels") if isinstance(value, Sequence) else ()
    if items and all(isinstance(v, (str, int, np.integer)) and not isinstance(v, bool) for v in items):
        return tuple(v if isinstance(v, str) else int(v) for v in items)
    raise ConfigError("channels are not names or indices", found=quoted(value), allowed='"axon", 2, or a list of such')


def to_at(value: Any) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, (int, np.integer)) and not isinstance(v, bool) for k, v in value.items()
    ):
        raise ConfigError("at is not a mapping of axes to indices", found=quoted(value), allowed='such as {"t": 0}')
    return {key: int(index) for key, index in value.items()}


@attrs.frozen(eq=False, repr=False)
class SelectArrayConfig(ArrayConfig):
    """Some channels, samples or times of an array; the others are not read.

    Args:
        name: The array's name.
        source_array_config: An array with non-spatial axes.
        channels: Names or indices, in the order wanted; one without a list drops the axis.
        at: One index for each of other non-spatial axes, which it drops.

    >>> import gp_arrays as gpa, numpy as np
    >>> two = gpa.NumpyArrayConfig("two", data=np.array([[[1]], [[2]]]), axes=("c", "y", "x"))
    >>> gpa.SelectArrayConfig("second", two, channels=1).array()[:]
    array([[2]])
    """

    keeps_constant = True
    supports_channel_subset = True

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
    channels: str | int | tuple[str | int, ...] | None = attrs.field(default=None, converter=to_channels)
    at: dict[str, int] = attrs.field(default=None, converter=to_at)

    def check(self) -> None:
        if self.channels is None and not self.at:
            raise ConfigError("nothing is selected", allowed="channels or at")
        if self.channels is not None and CHANNEL in self.at:
            raise ConfigError("channels are selected twice", found=f"channels={self.channels!r}, at={self.at!r}")

    def picks(self, source: Meta) -> list[Picked | None]:
        """What is taken of each non-spatial axis of the source."""
        nonspatial = source.nonspatial or ()
        wanted: dict[str, Any] = dict(self.at)
        if self.channels is not None:
            wanted[CHANNEL] = self.channels
        names = [axis.name for axis in nonspatial]
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise TreeError(
                f"the source has no axis {', '.join(unknown)}", allowed=", ".join(names) or "no non-spatial axes"
            )
        return [None if axis.name not in wanted else _pick(wanted[axis.name], axis) for axis in nonspatial]

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        if source.nonspatial is None:
            return source
        nonspatial = []
        for axis, pick in zip(source.nonspatial, self.picks(source), strict=True):
            if pick is None:
                nonspatial.append(axis)
            elif not isinstance(pick, int):
                labels = None if axis.labels is None else tuple(axis.labels[i] for i in pick)
                nonspatial.append(Axis(axis.name, len(pick), labels))
        return attrs.evolve(source, nonspatial=tuple(nonspatial))

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region]:
        (source,) = sources
        if source.nonspatial is None:
            return [region.whole()]
        return [Region(region.begin, region.end, tuple(self._ranges(region, meta, source)))]

    def _ranges(self, region: Region, meta: Meta, source: Meta) -> list[tuple[int, int]]:
        kept = iter(meta.nonspatial_ranges(region))
        ranges = []
        for axis, pick in zip(source.nonspatial or (), self.picks(source), strict=True):
            if isinstance(pick, int):
                ranges.append((pick, pick + 1))
                continue
            first, last = next(kept)
            if pick is None:
                ranges.append((first, last))
            else:
                taken = pick[first:last]
                ranges.append((min(taken), max(taken) + 1) if taken else (0, min(1, axis.size)))
        return ranges

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        (block,) = blocks
        assert block is not None
        kept = iter(meta.nonspatial_ranges(region))
        picks: list[Picked | None] = []
        for (low, _), pick in zip(block.meta.nonspatial_ranges(block.region), self.picks(block.meta), strict=True):
            if isinstance(pick, int):
                picks.append(pick - low)
                continue
            first, last = next(kept)
            picks.append(None if pick is None else tuple(i - low for i in pick[first:last]))
        return select(block.data, picks)


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
