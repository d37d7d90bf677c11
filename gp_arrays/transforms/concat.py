"""Arrays as the channels of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError
from ..model import fields
from ..model.base import ArrayConfig
from ..model.checks import common_grid
from ..model.config import SOURCE, Config
from ..model.meta import CHANNEL, Axis, Block, Meta, Region


def concat(
    parts: Sequence[np.ndarray[Any, Any] | None], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """Parts along a new or their own first axis; None is one channel of zeros of ``shape``.

    >>> concat([np.array([1, 2]), None], (2,), np.dtype("u1")).tolist()
    [[1, 2], [0, 0]]
    """
    parts = [part if part is None or part.ndim > len(shape) else part[np.newaxis] for part in parts]
    out = np.empty((sum(1 if part is None else len(part) for part in parts), *shape), dtype)
    at = 0
    for part in parts:
        count = 1 if part is None else len(part)
        out[at : at + count] = 0 if part is None else part
        at += count
    return out


def common_dtype(dtypes: Mapping[str, np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that holds all exactly. Raises TreeError where 64-bit integers would be rounded."""
    common = np.result_type(*dtypes.values())
    wide = [name for name, d in dtypes.items() if d.kind in "ui" and d.itemsize == 8]
    if wide and common.kind == "f":
        found = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TreeError(
            "no dtype holds both 64-bit integers and floats or the other sign",
            found=found,
            allowed="integers of one sign, or floats alone",
        )
    return common


def repeated(names: Sequence[str]) -> list[str]:
    """The names that come more than once."""
    return sorted({name for name in names if names.count(name) > 1})


def to_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Config) or not isinstance(value, Mapping):
        raise ConfigError("not a mapping of channels to array configs", found=repr(value))
    return dict(value)


@attrs.frozen(eq=False, repr=False)
class ConcatArrayConfig(ArrayConfig):
    """Arrays as channels of one, in the order of ``channels``; the roi is their intersection.

    A source that has channels brings them all, named ``channel/its own``. The dtype is
    ``numpy.result_type`` of the sources; 64-bit integers with floats or with the other
    sign are a TreeError.

    Args:
        name: The array's name.
        channels: Names, each once.
        source_array_configs: The array of each channel.
        default_config: The array of a channel that has none; zeros by default.

    >>> import gp_arrays as gpa, numpy as np
    >>> a = gpa.NumpyArrayConfig("a", data=np.array([[7]], np.uint8))
    >>> gpa.ConcatArrayConfig("both", ["a", "none"], {"a": a}).array()[:, 0, 0]
    array([7, 0], dtype=uint8)
    """

    supports_channel_subset = True
    keeps_constant = True
    node_defaults = {"channels": lambda fields: list(fields["source_array_configs"])}

    channels: tuple[str, ...] = attrs.field(converter=fields.to_names)
    source_array_configs: dict[str, ArrayConfig] = attrs.field(
        metadata=SOURCE,
        converter=to_mapping,
    )
    default_config: ArrayConfig | None = attrs.field(default=None, metadata=SOURCE)

    def check(self) -> None:
        if not self.channels:
            raise ConfigError("no channels", found=repr(self.channels), allowed="at least one name")
        twice = repeated(self.channels)
        if twice:
            raise ConfigError("channel names are not unique", found=", ".join(twice), allowed="each name once")
        unknown = [name for name in self.source_array_configs if name not in self.channels]
        if unknown:
            raise ConfigError(
                "sources that are not among the channels",
                found=", ".join(map(str, unknown)),
                allowed=", ".join(self.channels),
            )

    def _sources(self) -> list[int | None]:
        """For each channel which source it comes from; None for zeros."""
        order = list(self.source_array_configs)
        default = len(order) if self.default_config is not None else None
        return [order.index(name) if name in order else default for name in self.channels]

    def _parts(self, sources: Sequence[Meta]) -> list[tuple[int | None, int]]:
        """Which source each entry of ``channels`` comes from, and how many channels it brings."""
        return [
            (index, 1 if index is None or (axis := sources[index].channel_axis) is None else axis.size)
            for index in self._sources()
        ]

    def infer(self, *sources: Meta) -> Meta:
        names = [*self.source_array_configs] + (["default_config"] if self.default_config is not None else [])
        grid = common_grid(sources, names)
        for source, name in zip(sources, names, strict=True):
            other = [axis.name for axis in source.nonspatial or () if axis.name != CHANNEL]
            if other:
                raise TreeError(
                    f"{name} has non-spatial axes other than channels",
                    found=", ".join(other),
                    allowed="channels or none; SelectArrayConfig picks one",
                )
        dtypes = {name: s.dtype for name, s in zip(names, sources, strict=True) if s.dtype is not None}
        nonspatial = None
        if all(source.nonspatial is not None for source in sources):
            labels = [
                label if index is None or sources[index].channel_axis is None else f"{label}/{own}"
                for label, index in zip(self.channels, self._sources(), strict=True)
                for own in (("",) if index is None else sources[index].channels or ("",))
            ]
            if repeated(labels):
                raise TreeError(
                    "two channels get one name",
                    found=", ".join(repeated(labels)),
                    allowed="names of which none is another's with that of a source's channel",
                )
            nonspatial = (Axis(CHANNEL, len(labels), tuple(labels)),)
        return attrs.evolve(
            grid,
            nonspatial=nonspatial,
            dtype=common_dtype(dtypes) if len(dtypes) == len(sources) else None,
            interpolatable=all(source.interpolatable for source in sources),
            averaged=any(source.averaged for source in sources),
            attrs=sources[0].attrs if len(sources) == 1 else {},
        )

    def _wanted(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> list[tuple[int | None, int, int]]:
        """(source, first, last) of the channels that a region takes of each entry."""
        if region.nonspatial is None:
            return [(index, 0, count) for index, count in self._parts(sources)]
        ((first, last),) = region.nonspatial
        wanted, at = [], 0
        for index, count in self._parts(sources):
            low, high = max(first - at, 0), min(last - at, count)
            if low < high:
                wanted.append((index, low, high))
            at += count
        return wanted

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        needed: list[Region | None] = [None] * len(sources)
        for index, low, high in self._wanted(region, meta, sources):
            if index is not None:
                split = region.nonspatial is not None and sources[index].channel_axis is not None
                part = Region(region.begin, region.end, ((low, high),) if split else None)
                other = needed[index]
                needed[index] = part if other is None else part.union(other)
        return needed

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        assert meta.dtype is not None
        parts: list[np.ndarray[Any, Any] | None] = []
        for index, low, high in self._wanted(region, meta, sources):
            block = None if index is None else blocks[index]
            if block is None:
                parts.append(None)
            elif block.meta.channel_axis is None:
                parts.append(block.data)
            else:
                parts.append(block.crop(Region(region.begin, region.end, ((low, high),))))
        return concat(parts, meta.voxels(region), meta.dtype)
