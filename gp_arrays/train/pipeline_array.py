"""An array that a user's own gunpowder nodes compute from another one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from ..errors import ComputeError, ConfigError, GpArraysError, TreeError, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.cache import CACHE
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from .functions import code_hashes, file_hash, import_function, to_arguments, to_reference
from .random_state import keeping_random_states
from .tiles import Tile, TileSizes, grid_corner, paste, tile_key

if TYPE_CHECKING:
    from .appended import AppendedNodes

#: Pipelines of appended nodes that a thread keeps, those used last.
MOST_PIPELINES = 16


def to_files(value: Any) -> tuple[Path, ...]:
    """attrs converter: paths of files."""
    if isinstance(value, (str, Path)):
        raise ConfigError("not a list of files", found=quoted(value), allowed=f"[{str(value)!r}]")
    return tuple(fields.to_path(item) for item in fields.items_of(value, "files"))


@attrs.frozen(eq=False, repr=False)
class PipelineArrayConfig(OneSourceConfig):
    """What gunpowder nodes compute from an array: ``append(pipeline, source, target, **arguments)``.

    The function gets a pipeline that provides the key ``source``, and returns one that also provides ``target``.
    It is called once in each process and thread that reads the array. The source is requested over each region
    grown by the context, whether or not the nodes ask for it, so a stock ``gunpowder.torch.Predict`` works as it is.
    The result must not depend on which other regions are asked for, nor on chance. Nodes whose result depends
    on where a region begins (networks that pool) need ``tile_size``: they are then asked for whole tiles only.

    Args:
        name: The array's name.
        source_array_config: What the nodes read.
        append: A function of a module, or ``"module:name"``.
        context_size: How far beyond a region the nodes read, one length per spatial axis.
        tile_size: The shape of the tiles, one length per spatial axis. They lie side by side from the array's
            begin; the last one of an axis is moved inward by whole strides. Computed tiles are kept in memory, up
            to ``GP_ARRAYS_CACHE_BYTES`` bytes.
        dtype: Of the result; the source's by default.
        channels: Names of its channels; the non-spatial axes are those of the source by default, and none where
            this is empty.
        voxel_size: By default the source's. The extent shrinks to whole voxels of both.
        padded: True if the nodes read beyond the source by themselves (``gp.Pad``): the result has the source's
            extent then. Otherwise it is smaller by the context.
        arguments: Further arguments of the function, plain values.
        fingerprint: Files that decide the result, such as weights. A job does not go on after one of them has changed.
            The function's own file, modules beside it that it imports, and files that ``arguments`` name are among them.
        interpolatable: Of the result; by default true for floats.
        stride: The step in which the nodes' result moves with their input (8 for three poolings by 2), one length
            per spatial axis; one voxel by default. With ``tile_size`` the extent shrinks to whole strides.

    Raises:
        TreeError: No such function, a context or tile that does not fit the source.
        ComputeError: The nodes fail, or read further than the context.
    """

    node_name: ClassVar[str] = "PipelineArray"

    append: str = attrs.field(converter=to_reference)
    context_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.not_negative_lengths
    )
    tile_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    dtype: np.dtype[Any] | None = attrs.field(default=None, converter=fields.to_dtype)
    channels: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    voxel_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    padded: bool = attrs.field(default=False, converter=fields.to_bool)
    arguments: Mapping[str, Any] = attrs.field(factory=dict, converter=to_arguments)
    fingerprint: tuple[Path, ...] = attrs.field(default=(), converter=to_files)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))
    stride: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )

    def check(self) -> None:
        if self.stride is not None and self.tile_size is None:
            raise ConfigError("stride needs tile_size", found=f"stride {', '.join(map(str, self.stride))}")

    @property
    def sizes(self) -> TileSizes:
        """Its tiles, context and voxels."""
        return TileSizes(self.tile_size, self.context_size, self.stride, self.voxel_size, self.padded)

    def first_tile(self, meta: Meta, sources: Sequence[Meta]) -> Region | None:
        return self.sizes.first_tile(meta, sources[0])

    def fingerprints(self) -> dict[str, str]:
        files = {f"file {path}": file_hash(path, "file of fingerprint") for path in self.fingerprint}
        return {**code_hashes(self.append, self.arguments), **files}

    def modules(self) -> tuple[str, ...]:
        return (*super().modules(), self.append.partition(":")[0])

    def release(self) -> None:
        close_pipelines()

    def infer_from(self, source: Meta) -> Meta:
        import_function(self.append)
        if source.roi is None:
            raise TreeError("appended nodes need a source with bounds", allowed="this node before gp.RandomLocation")
        dtype = self.dtype or source.dtype
        assert dtype is not None
        nonspatial = source.nonspatial
        if self.channels is not None:
            nonspatial = (Axis(CHANNEL, len(self.channels), self.channels),) if self.channels else ()
        interpolatable = dtype.kind == "f" if self.interpolatable is None else self.interpolatable
        return self.sizes.result(source, dtype=dtype, nonspatial=nonspatial, interpolatable=interpolatable)

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region:
        return source.clip(self.sizes.reads(self.sizes.tiles(region.whole(), meta, source), source))

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        source = block.meta
        if self.tile_size is None:
            return self._request(block, region, source)
        target = Block(np.empty(meta.shape_of(region), meta.dtype), region, meta)
        for tile in self.sizes.tiles(region, meta, source):
            inside = source.clip(self.sizes.reads([tile], source))
            part = Block(block.crop(inside), inside, source)
            key = tile_key(f"{self.content} {tile.region}", part.data)
            paste(target, tile, CACHE.get(key, functools.partial(self._request, part, tile.region, source)))
        return target.data

    def _request(self, block: Block, region: Region, source: Meta) -> Voxels:
        """What the nodes deliver for a region, from a block that holds its context."""
        reads = self.sizes.reads([Tile(region, region)], source)
        try:
            with keeping_random_states():
                return np.asarray(_PIPELINES.of(self, source).request(block, region, reads))
        except GpArraysError:
            raise
        except Exception as error:
            # the nodes are anybody's code
            raise ComputeError(f"the appended nodes failed in {region}: {error}") from error


class _Pipelines(threading.local):
    """The pipelines of a thread: a node serves one request at a time."""

    def __init__(self) -> None:
        self.by_source: dict[Any, AppendedNodes] = {}
        with _LOCK:
            _EVERY_THREADS.append(self.by_source)

    def of(self, config: PipelineArrayConfig, source: Meta) -> AppendedNodes:
        from .appended import AppendedNodes

        # a view computes samples, which lie on grids of their own
        key = config.content, source.region, tuple(source.voxel_size), grid_corner(source)
        nodes = self.by_source.pop(key, None) or AppendedNodes(config.append, config.arguments, config.content, source)
        self.by_source[key] = nodes
        if len(self.by_source) > MOST_PIPELINES:
            self.by_source.pop(next(iter(self.by_source))).pipeline.internal_teardown()
        return nodes


def close_pipelines() -> None:
    """Tear down all appended nodes of this process; processes that they started end then."""
    with _LOCK:
        for pipelines in _EVERY_THREADS:
            while pipelines:
                pipelines.popitem()[1].pipeline.internal_teardown()


_LOCK = threading.Lock()
_EVERY_THREADS: list[dict[Any, AppendedNodes]] = []
_PIPELINES = _Pipelines()
