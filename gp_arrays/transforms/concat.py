"""Arrays as the channels of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import ArrayConfig
from ..model.checks import common_grid, require_channels_only
from ..model.config import SOURCE, Config
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from .select import span, take


def concat(parts: Sequence[Voxels | None], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Voxels:
    """Parts of one ``shape`` along a new first axis; None is zeros. One part alone is not copied.

    >>> concat([np.array([1, 2]), None], (2,), np.dtype("u1")).tolist()
    [[1, 2], [0, 0]]
    """
    if len(parts) == 1 and parts[0] is not None:
        return parts[0].astype(dtype, copy=False)[np.newaxis]
    out = np.empty((len(parts), *shape), dtype)
    for channel, part in zip(out, parts, strict=True):
        channel[...] = 0 if part is None else part
    return out


def common_dtype(dtypes: Mapping[str, np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that holds all exactly. Raises TreeError where 64-bit integers would be rounded."""
    common = np.result_type(*dtypes.values())
    wide = [name for name, d in dtypes.items() if d.kind in "ui" and d.itemsize == 8]
    if wide and common.kind == "f":
        dtypes_text = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TreeError(
            "no dtype holds both 64-bit integers and floats or the other sign",
            found=dtypes_text,
            allowed="integers of one sign, or floats alone",
        )
    return common


def to_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Config) or not isinstance(value, Mapping):
        raise ConfigError("not a mapping of channels to array configs", found=quoted(value))
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
            raise ConfigError("no channels", found=quoted(self.channels), allowed="at least one name")
        if twice := fields.repeated(self.channels):
            raise ConfigError("channel names are not unique", found=", ".join(twice), allowed="each name once")
        unknown = [name for name in self.source_array_configs if name not in self.channels]
        if unknown:
            raise ConfigError(
                "sources that are not among the channels",
                found=", ".join(map(str, unknown)),
                allowed=", ".join(self.channels),
            )

    def _layout(self, sources: Sequence[Meta]) -> list[tuple[str, int | None, int]]:
        """For each channel its name, its source (None for zeros), and which of the source's channels it is."""
        order = list(self.source_array_configs)
        default = len(order) if self.default_config is not None else None
        layout: list[tuple[str, int | None, int]] = []
        for name in self.channels:
            source = order.index(name) if name in order else default
            names = None if source is None else sources[source].channels
            if names is None:
                layout.append((name, source, 0))
            else:
                layout += [(f"{name}/{label}", source, i) for i, label in enumerate(names)]
        return layout

    def _layout_of(self, region: Region, sources: Sequence[Meta]) -> list[tuple[str, int | None, int]]:
        layout = self._layout(sources)
        return layout if region.nonspatial is None else layout[slice(*region.nonspatial[0])]

    def infer(self, *sources: Meta) -> Meta:
        names = [*self.source_array_configs] + (["default_config"] if self.default_config is not None else [])
        grid = common_grid(sources, names)
        for source, name in zip(sources, names, strict=True):
            require_channels_only(source, f"{name} has non-spatial axes other than channels")
        dtypes = {name: s.dtype for name, s in zip(names, sources, strict=True) if s.dtype is not None}
        nonspatial = None
        if all(source.nonspatial is not None for source in sources):
            labels = [label for label, _, _ in self._layout(sources)]
            if fields.repeated(labels):
                raise TreeError(
                    "two channels have the same name",
                    found=", ".join(fields.repeated(labels)),
                    allowed="names that differ from all names of the form channel/channel of its source",
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

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        layout = self._layout_of(region, sources)
        regions: list[Region | None] = []
        for index, source in enumerate(sources):
            channels = [channel for _, used, channel in layout if used == index]
            part = region.nonspatial is not None and source.channel_axis is not None
            regions.append(Region(region.begin, region.end, (span(channels),) if part else None) if channels else None)
        return regions

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        assert meta.dtype is not None
        parts: list[Voxels | None] = []
        for _, source, channel in self._layout_of(region, sources):
            block = None if source is None else blocks[source]
            data = None if block is None else block.data
            if block is not None and block.meta.channel_axis is not None:
                ((first, _),) = block.meta.nonspatial_ranges(block.region)
                data = take(block.data, [channel], first, 0)[0]
            parts.append(data)
        return concat(parts, meta.voxels(region), meta.dtype)
