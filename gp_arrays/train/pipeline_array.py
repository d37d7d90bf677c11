"""An array that gunpowder nodes of one's own make of another: a prediction, say."""

from __future__ import annotations

import importlib
import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate

from ..errors import ComputeError, ConfigError, GpArraysError, TreeError
from ..model import fields
from ..model.base import ArrayConfig
from ..model.config import SOURCE
from ..model.meta import CHANNEL, Axis, Block, Meta, Region
from .steps import spec_of

Append = Callable[..., gp.Pipeline]

#: Pipelines of appended nodes that a thread keeps, those used last.
KEPT = 16


def to_reference(value: Any) -> str:
    """attrs converter: where a function is, as ``module:name``.

    >>> from gunpowder import Normalize
    >>> to_reference(Normalize)
    'gunpowder.nodes.normalize:Normalize'
    """
    if callable(value):
        value = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if not isinstance(value, str) or value.count(":") != 1 or "<" in value or not all(value.split(":")):
        raise ConfigError(
            "not a function that workers can import",
            found=repr(value),
            allowed="a function of a module, or 'module:name'",
        )
    return value


def find(reference: str) -> Append:
    """The function at ``module:name``. Raises TreeError."""
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise TreeError("no such function", found=f"{reference}: {error}") from None
    function: Append = found
    return function


def to_arguments(value: Any) -> dict[str, Any]:
    """attrs converter: further arguments of the function, plain values by name."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError("not arguments by name", found=repr(value))
    return dict(value)


@attrs.frozen(eq=False, repr=False)
class PipelineArrayConfig(ArrayConfig):
    """What gunpowder nodes make of an array: ``append(pipeline, source, target, **arguments)``.

    The function gets a pipeline that provides the key ``source``, and returns one that
    also provides ``target``. It is called once in each process and thread that reads the array.
    The result of a region must not depend on which other regions are asked for, nor on chance.

    Args:
        name: The array's name.
        source_array_config: What the nodes are given.
        append: A function of a module, or ``"module:name"``.
        context_size: How far beyond a region the nodes read, one length per spatial axis.
        dtype: Of the result.
        channels: Names of its channels; the axes before the spatial ones are those of the source
            by default, and none where this is empty.
        voxel_size: By default the source's. The extent shrinks to whole voxels of both.
        padded: Whether the nodes read beyond the source by themselves (``gp.Pad``): the result
            has the source's extent then. Otherwise it is smaller by the context.
        arguments: Further arguments of the function, plain values.
        interpolatable: Of the result; by default whether it holds floats.
    """

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
    append: str = attrs.field(converter=to_reference)
    context_size: tuple[Any, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    dtype: np.dtype[Any] | None = attrs.field(default=None, converter=fields.to_dtype)
    channels: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    voxel_size: tuple[Any, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    padded: bool = attrs.field(default=False, converter=fields.to_bool)
    arguments: Mapping[str, Any] = attrs.field(factory=dict, converter=to_arguments)
    interpolatable: bool | None = attrs.field(default=None)

    def _whole(self, lengths: Sequence[Any] | None, default: Sequence[int], unit: str, what: str) -> tuple[int, ...]:
        if lengths is None:
            return tuple(map(int, default))
        values = [length.to(unit) for length in lengths]
        if len(values) != len(default) or any(value.denominator != 1 for value in values):
            raise TreeError(
                f"{what} must be one whole length per spatial axis",
                found=", ".join(map(str, lengths)),
                allowed=f"{len(default)} lengths in {unit}",
            )
        return tuple(int(value) for value in values)

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        find(self.append)
        voxel_size = self._whole(self.voxel_size, source.voxel_size, source.unit, "voxel_size")
        reach = self._whole(self.context_size, (0,) * source.dims, source.unit, "context_size")
        region = source.region
        if not self.padded:
            begin = tuple(b + r for b, r in zip(region.begin, reach, strict=True))
            region = Region(begin, tuple(e - r for e, r in zip(region.end, reach, strict=True)))
        # voxels of both sizes begin where the source's grid does, on the world's grid or off it
        phase = _corner(source)
        grid = [math.lcm(int(a), b) for a, b in zip(source.voxel_size, voxel_size, strict=True)]
        region = region.shrink(grid, phase)
        if region.empty:
            raise TreeError(
                "the source is smaller than the context and one voxel of both sizes",
                found=f"{source.region}, context {reach}, voxels {tuple(grid)}",
            )
        dtype = self.dtype or source.dtype
        assert dtype is not None
        nonspatial = source.nonspatial
        if self.channels is not None:
            nonspatial = (Axis(CHANNEL, len(self.channels), self.channels),) if self.channels else ()
        floats = dtype.kind == "f"
        return attrs.evolve(
            source,
            roi=region.roi,
            voxel_size=Coordinate(voxel_size),
            dtype=dtype,
            nonspatial=nonspatial,
            interpolatable=floats if self.interpolatable is None else self.interpolatable,
            attrs={},
            phase=phase if any(phase) else None,
        )

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region]:
        (source,) = sources
        reach = self._whole(self.context_size, (0,) * source.dims, source.unit, "context_size")
        grown = Region(
            tuple(b - r for b, r in zip(region.begin, reach, strict=True)),
            tuple(e + r for e, r in zip(region.end, reach, strict=True)),
        )
        return [grown.snap([int(v) for v in source.voxel_size], source.origin).intersect(source.region)]

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        (block,) = blocks
        assert block is not None
        built = _BUILT.of(self, sources[0])
        # gunpowder wants offsets on the voxel grid, and seeds what others may be using
        states = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            found = built.request(block, region)
        except GpArraysError:
            raise
        except Exception as error:
            raise ComputeError(f"the appended nodes failed in {region}: {error}") from error
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
        return np.asarray(found)


def _corner(source: Meta) -> tuple[int, ...]:
    """A corner of voxels of the source and of the result alike. It is where the nodes see zero."""
    return source.phase or source.origin


class _Given(gp.BatchProvider):  # type: ignore[misc]
    """Provides the voxels of one block."""

    def __init__(self, key: gp.ArrayKey, meta: Meta, shift: Coordinate) -> None:
        self.key, self.meta, self.shift = key, meta, shift
        self.block: Block | None = None

    def setup(self) -> None:
        self.provides(self.key, spec_of(self.meta, self.meta.region.roi.shift(-self.shift)))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        assert self.block is not None
        wanted = Region.of(request[self.key].roi.shift(self.shift))
        if not self.block.region.contains(wanted):
            raise ComputeError(
                "the appended nodes read further than the context",
                found=wanted,
                allowed=f"within {self.block.region}; a larger context_size, or padded=True with a gp.Pad",
            )
        batch = gp.Batch()
        spec = self.spec[self.key].copy()
        spec.roi = request[self.key].roi
        batch[self.key] = gp.Array(np.array(self.block.crop(wanted)), spec)
        return batch


class _Built:
    """A pipeline of appended nodes, set up once."""

    def __init__(self, config: PipelineArrayConfig, source: Meta) -> None:
        content = config.content
        self.target = gp.ArrayKey(f"gp_arrays/through/{content}")
        key = gp.ArrayKey(f"gp_arrays/given/{content}")
        self.shift = Coordinate(_corner(source))
        self.given = _Given(key, source, self.shift)
        pipeline = find(config.append)(gp.Pipeline(self.given), key, self.target, **config.arguments)
        pipeline.setup()
        self.pipeline = pipeline

    def request(self, block: Block, region: Region) -> Any:
        self.given.block = block
        try:
            request = gp.BatchRequest()
            request[self.target] = gp.ArraySpec(roi=region.roi.shift(-self.shift))
            return self.pipeline.request_batch(request)[self.target].data
        finally:
            self.given.block = None


class _Cache(threading.local):
    """The pipelines of a thread: a node serves one request at a time."""

    def __init__(self) -> None:
        self.built: dict[Any, _Built] = {}

    def of(self, config: PipelineArrayConfig, source: Meta) -> _Built:
        # a view computes samples, which lie on grids of their own
        key = config.content, source.region, tuple(source.voxel_size), _corner(source)
        found = self.built.pop(key, None) or _Built(config, source)
        self.built[key] = found
        if len(self.built) > KEPT:
            self.built.pop(next(iter(self.built))).pipeline.internal_teardown()
        return found


_BUILT = _Cache()
