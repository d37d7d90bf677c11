"""Pictures of a view, chunks that it serves, and arrays that count what is computed of them."""

from __future__ import annotations

import io
import threading
import urllib.request
import zlib
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.meta import Axis
from gp_arrays.model.opened import Opened
from gp_arrays.units import Quantity
from gp_arrays.viewer import screenshot
from gp_arrays.viewer.shown import View

#: No test waits longer for a picture.
TIMEOUT = 90

needs_browser = pytest.mark.skipif(screenshot.browser() is None, reason="no Chromium is installed")


def pixels(view: View, size: tuple[int, int], position: list[float], scale: float = 1.0) -> np.ndarray[Any, Any]:
    """What a browser shows of one xy plane, RGB: ``position`` in voxels, ``scale`` voxels a pixel."""
    with view.viewer.txn() as state:
        state.layout = "xy"
        state.position = position
        state.cross_section_scale = scale
        state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        for layer in state.layers:
            if layer.name.endswith("roi"):
                layer.visible = False
    picture = screenshot.take(view.viewer, size, TIMEOUT)
    return np.asarray(picture.image_pixels)[..., :3]


def served(
    view: View, name: str, start: tuple[int, ...], stop: tuple[int, ...], factors: tuple[int, ...] | None = None
) -> Any:
    """A chunk as the server sends it to the browser."""
    # python://volume/<token of the viewer>.<token of the volume>
    volume = view.viewer.state.layers[name].source[0].url.rsplit("/", 1)[1]
    key = [",".join(map(str, part)) for part in (factors or (1,) * len(start), start, stop)]
    url = f"{view.url.split('/v/')[0]}/neuroglancer/npz/{volume}/{'/'.join(key)}"
    with urllib.request.urlopen(url, timeout=30) as reply:
        return np.load(io.BytesIO(zlib.decompress(reply.read())))


class Counter:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self.lock, self.voxels, self.calls = threading.Lock(), 0, 0

    def add(self, voxels: int) -> None:
        with self.lock:
            self.voxels += int(voxels)
            self.calls += 1


READ, COMPUTED = Counter(), Counter()


def value(*index: Any) -> Any:
    """A value of each voxel, told by its index."""
    z, y, x = (np.asarray(i, np.int64) for i in index)
    return ((z * 7 + y * 13 + x * 29 + (z ^ y ^ x)) % 251).astype(np.uint8)


# abstract, so that they are in no list of array types
@attrs.frozen(eq=False, repr=False)
class Endless(gpa.SourceConfig):
    """A volume that is nowhere stored: ``size`` voxels on each axis, in chunks of ``chunk``."""

    abstract: ClassVar[bool] = True

    size: int = 10**5
    chunk: int = 64
    pyramid: int = 1

    def open(self, mode: str | None = None) -> Opened:
        return EndlessOpened(self)


class EndlessOpened(Opened):
    nonspatial: tuple[Axis, ...] = ()
    dtype = np.dtype("uint8")
    spatial_axes = ("z", "y", "x")
    offset = tuple(Quantity.parse(0) for _ in range(3))
    interpolatable = True
    location = "nowhere"

    def __init__(self, config: Endless, level: int = 0) -> None:
        self.config, self.level = config, level
        self.shape = (config.size >> level,) * 3
        self.chunks = (config.chunk,) * 3
        self.voxel_size = tuple(Quantity.parse(4 << level) for _ in range(3))
        self.attrs: dict[str, Any] = {}

    def coarser(self) -> list[Opened]:
        return [EndlessOpened(self.config, level) for level in range(self.level + 1, self.config.pyramid)]

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        c = self.config.chunk
        READ.add(np.prod([(-(-s.stop // c) - s.start // c) * c for s in index], dtype=object))
        return value(*np.ix_(*[np.arange(s.start, s.stop) << self.level for s in index]))


@attrs.frozen(eq=False, repr=False)
class Counted(gpa.PointwiseConfig):
    """255 - x."""

    abstract: ClassVar[bool] = True
    supports_channel_subset = True

    source_array_config: Any = attrs.field(metadata={"gp_arrays_source": True})

    def infer(self, *sources: Any) -> Any:
        return sources[0]

    def kernel(self, dtype: Any, *sources: Any) -> Any:
        COMPUTED.add(sources[0].size)
        return 255 - sources[0]


@attrs.frozen(eq=False, repr=False)
class Broken(Counted):
    """Cannot be computed."""

    abstract: ClassVar[bool] = True

    def kernel(self, dtype: Any, *sources: Any) -> Any:
        return sources[0] + 1 // 0


@attrs.frozen(eq=False, repr=False)
class Blurred(gpa.ArrayConfig):
    """The mean of a box of 17 voxels on each axis, cut off at the array's ends."""

    abstract: ClassVar[bool] = True

    source_array_config: Any = attrs.field(metadata={"gp_arrays_source": True})

    def infer(self, *sources: Any) -> Any:
        return sources[0]

    def context(self, region: Any, meta: Any, sources: Any) -> Any:
        margin = [8 * int(v) for v in meta.voxel_size]
        begin = tuple(b - m for b, m in zip(region.begin, margin, strict=True))
        end = tuple(e + m for e, m in zip(region.end, margin, strict=True))
        return [attrs.evolve(region, begin=begin, end=end).intersect(sources[0].region)]

    def compute(self, region: Any, meta: Any, sources: Any, blocks: Any) -> Any:
        data = blocks[0].data.astype(np.int64)
        begin = [
            (b - o) // int(v) for b, o, v in zip(region.begin, blocks[0].region.begin, meta.voxel_size, strict=True)
        ]
        for axis, (first, n) in enumerate(zip(begin, meta.voxels(region), strict=True)):
            size = data.shape[axis]
            parts = [data.take(range(max(i - 8, 0), min(i + 9, size)), axis).sum(axis) for i in range(first, first + n)]
            data = np.stack(parts, axis)
        return (data // 17**3).astype(np.uint8)
