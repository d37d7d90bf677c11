"""What a torch network predicts from an array, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.cache import CACHE
from ..model.checks import require_channels_only
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from .functions import is_reference, to_arguments, to_reference
from .network import NetworkFiles, scaled
from .tiles import Tile, TileSizes, paste, tile_key

#: How voxels beyond the source are made, and what numpy calls it.
PADDINGS = {"no": "", "edge": "edge", "reflect": "reflect", "zero": "constant"}
#: More channels than any network has, so that a wrong number is an error at once.
MOST_CHANNELS = 2**16

AUTOCASTS = ("bfloat16", "float16")


def to_output_dtype(value: Any) -> np.dtype[Any]:
    """attrs converter: a dtype that predictions are stored in."""
    dtype = fields.to_dtype(value)
    if dtype is None or dtype.kind == "b":
        raise ConfigError("not a dtype of predictions", found=quoted(value), allowed="floats, or integers with a scale")
    return dtype


def to_channels(value: Any) -> tuple[str, ...] | None:
    """attrs converter: names of channels, or how many there are, or None for no channel axis."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value > MOST_CHANNELS:
            raise ConfigError("too many channels", found=quoted(value), allowed=f"at most {MOST_CHANNELS}")
        value = [str(i) for i in range(value)]
    names = fields.to_names(value)
    if names is not None and (not names or len(set(names)) != len(names)):
        raise ConfigError(
            "channels are not names, each once", found=quoted(value), allowed='such as ["membrane"], or 3'
        )
    return names


def to_model(value: Any) -> str | Path:
    """attrs converter: a function as ``module:name``, or the path of a file."""
    if callable(value) or (isinstance(value, str) and is_reference(value)):
        return to_reference(value)
    return fields.to_path(value)


@attrs.frozen(eq=False, repr=False)
class PredictArrayConfig(OneSourceConfig):
    """What a torch network predicts from an array, computed in whole tiles on one grid.

    The network gets float32 batches of shape ``(batch, channels, *spatial)``, a source without channels as one
    channel, and returns one tensor of shape ``(batch, channels, *spatial)`` for the tile alone, or for the tile and
    its context, whose middle is then taken. The grid of tiles begins where the array does, so a voxel is the
    same whatever region it is asked for in, also of networks that pool. The last tile of an axis is moved inward
    by whole strides. Tiles that were computed are kept in memory, up to ``GP_ARRAYS_CACHE_BYTES`` bytes.

    Args:
        name: The array's name.
        source_array_config: What the network reads: floats, bool, or integers of at most 16 bits; channels or none.
        model: ``"module:function"``, a function that returns a ``torch.nn.Module``; or the path of a TorchScript
            file, or of a ``torch.export`` file (``.pt2``).
        checkpoint: A file of weights (``torch.save`` of a state dict, or of a mapping that holds one at
            ``model_state_dict``, ``state_dict`` or ``model``).
        tile_size: What the network computes at once, one length per spatial axis, without the context.
        context_size: How far beyond a tile the network reads, on each side. ``gpa.measure_context`` finds it.
        channels: Names of the result's channels, or how many; no channel axis by default, where the network
            returns one channel.
        dtype: Of the result: float32 by default.
        output_scale: What the network's result is multiplied by. An integer dtype needs one: it rounds and clips.
        batch_size: How many tiles the network gets at once. The last batch is filled up.
        device: ``"auto"`` takes a GPU where there is one.
        padded: ``"no"``: the array is smaller than its source by the context. ``"edge"``, ``"reflect"`` and
            ``"zero"`` say what the network sees beyond the source, and the array has the source's extent.
        stride: The step in which the network's result moves with its input (8 for three poolings by 2), one
            length per spatial axis; one voxel by default. The extent shrinks to whole strides.
        voxel_size: Of the result; the source's by default.
        autocast: ``"bfloat16"`` or ``"float16"`` runs the network in it where torch holds that safe.
        arguments: Of the model's function, plain values by name.

    Raises:
        TreeError: A source that does not fit, a tile that is larger than the array, torch is not installed.
        StoreError: A file that cannot be read, weights that do not fit the model.
        ComputeError: The network fails, or its result has another shape.
    """

    model: str | Path = attrs.field(converter=to_model)
    checkpoint: Path | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_path))
    tile_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    context_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.not_negative_lengths
    )
    channels: tuple[str, ...] | None = attrs.field(default=None, converter=to_channels)
    dtype: np.dtype[Any] = attrs.field(default=np.dtype("float32"), converter=to_output_dtype)
    output_scale: float | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_number))
    batch_size: int = attrs.field(default=1, converter=fields.to_count)
    device: str = attrs.field(default="auto", converter=fields.to_text)
    padded: str = attrs.field(default="no", validator=fields.one_of(*PADDINGS))
    stride: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    voxel_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    autocast: str | None = attrs.field(default=None, validator=fields.one_of(None, *AUTOCASTS))
    arguments: Mapping[str, Any] = attrs.field(factory=dict, converter=to_arguments)

    def modules(self) -> tuple[str, ...]:
        modules = super().modules()
        return (*modules, self.model.partition(":")[0]) if isinstance(self.model, str) else modules

    def check(self) -> None:
        if self.tile_size is None:
            raise ConfigError("tile_size is missing", allowed="the shape that the network computes at once")
        if self.dtype.kind != "f" and self.output_scale is None:
            raise ConfigError(
                "an integer dtype needs an output_scale", found=str(self.dtype), allowed="such as 255 for uint8"
            )

    @property
    def network(self) -> NetworkFiles:
        """Where the network comes from."""
        return NetworkFiles(self.model, self.checkpoint, self.arguments, self.device)

    @property
    def sizes(self) -> TileSizes:
        """Its tiles, context and voxels."""
        return TileSizes(self.tile_size, self.context_size, self.stride, self.voxel_size, self.padded != "no")

    def first_tile(self, meta: Meta, sources: Sequence[Meta]) -> Region | None:
        return self.sizes.first_tile(meta, sources[0])

    def fingerprints(self) -> dict[str, str]:
        return self.network.fingerprints()

    def infer_from(self, source: Meta) -> Meta:
        _require_input(source)
        context = self.sizes.context(source)
        if any(c % v for c, v in zip(context, source.voxel_size, strict=True)):
            raise TreeError(
                "context_size is not whole voxels of the source",
                found=str(context),
                allowed=f"multiples of {tuple(source.voxel_size)}",
            )
        nonspatial = () if self.channels is None else (Axis(CHANNEL, len(self.channels), self.channels),)
        return self.sizes.result(source, dtype=self.dtype, nonspatial=nonspatial, interpolatable=True)

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        return source.clip(self.sizes.reads(self.sizes.tiles(region, meta, source), source))

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        source = block.meta
        target = Block(np.empty(meta.shape_of(region), meta.dtype), region, meta)
        identity = f"{self.content} {self.network.state()}"
        tiles = self.sizes.tiles(region, meta, source)
        waiting: list[Waiting] = []
        for tile in tiles:
            voxels = self._input(block, tile, source)
            key = tile_key(identity, voxels)
            result = CACHE.find(key)
            if result is not None:
                paste(target, tile, result)
            else:
                waiting.append(Waiting(tile, key, voxels))
            if len(waiting) == self.batch_size or (waiting and tile is tiles[-1]):
                self._run(waiting, target)
                waiting = []
        return target.data

    def _run(self, waiting: Sequence[Waiting], target: Block) -> None:
        """Compute the tiles that wait, at most one batch, and copy what they have of the target."""
        network = self.network.load()
        with network.lock:
            # another thread may have computed some of them meanwhile
            results = {item.key: CACHE.find(item.key) for item in waiting}
            missing = [item for item in waiting if results[item.key] is None]
            if missing:
                # a network's rounding may depend on the size of the batch, so every batch has the same
                filled = missing + [missing[-1]] * (self.batch_size - len(missing))
                voxels = network.run(np.stack([item.voxels for item in filled]), self.autocast)
                for item, result in zip(missing, voxels, strict=False):
                    results[item.key] = CACHE.add(item.key, self._output(result, item.tile.region, target.meta))
        for item in waiting:
            result = results[item.key]
            assert result is not None
            paste(target, item.tile, result)

    def _input(self, block: Block, tile: Tile, source: Meta) -> Voxels:
        """What the network reads for a tile: float32, channels first, padded where it lies beyond the source."""
        reads = self.sizes.reads([tile], source)
        inside = source.clip(reads)
        voxels = block.crop(inside)
        width = [
            ((i - w) // v, (x - e) // v)
            for w, i, e, x, v in zip(
                reads.begin, inside.begin, inside.end, reads.end, map(int, source.voxel_size), strict=True
            )
        ]
        if any(map(any, width)):
            before = [(0, 0)] * (voxels.ndim - len(width))
            voxels = np.pad(voxels, [*before, *width], mode=PADDINGS[self.padded])  # type: ignore[call-overload]
        if not source.nonspatial:
            voxels = voxels[np.newaxis]
        return np.ascontiguousarray(voxels, np.float32)

    def _output(self, voxels: Voxels, tile: Region, meta: Meta) -> Voxels:
        """The tile of the result, of the result's shape and dtype."""
        shape, count = meta.voxels(tile), 1 if self.channels is None else len(self.channels)
        surplus = [n - s for n, s in zip(voxels.shape[1:], shape, strict=False)]
        if voxels.shape[0] != count or voxels.ndim != len(shape) + 1 or any(s < 0 or s % 2 for s in surplus):
            raise ComputeError(
                "the network's result does not fit the tile",
                found=f"{voxels.shape[0]} channels, {voxels.shape[1:]} voxels",
                allowed=f"{count} channels, {shape} voxels, or as much more on both sides; "
                "channels, tile_size and context_size say what is expected",
            )
        middle = tuple(slice(s // 2, s // 2 + n) for s, n in zip(surplus, shape, strict=True))
        voxels = voxels[(slice(None), *middle)]
        return scaled(voxels if self.channels is not None else voxels[0], self.output_scale, self.dtype)


@attrs.frozen(eq=False)
class Waiting:
    """A tile that the network has still to compute: its key, and what the network reads."""

    tile: Tile
    key: str
    voxels: Voxels


def _require_input(source: Meta) -> None:
    """Raises TreeError unless a network can read the source."""
    if source.dtype is not None and source.dtype.kind in "ui" and source.dtype.itemsize > 2:
        raise TreeError(
            "a network reads float32, which does not hold these integers",
            found=f"dtype {source.dtype}",
            allowed="floats or integers of at most 16 bits; Binarize or Intensities make some",
        )
    require_channels_only(source, "a network takes channels as the only non-spatial axis")
