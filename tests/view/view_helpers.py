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
from gp_arrays.meta import Axis
from gp_arrays.rules import Opened
from gp_arrays.units import Quantity
from gp_arrays.view import screenshot
from gp_arrays.view.shown import View

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
    leading: tuple[Axis, ...] = ()
    dtype = np.dtype("uint8")
    spatial_axes = ("z", "y", "x")
    offset = tuple(Quantity.parse(0) for _ in range(3))
    interpolatable = True
    place = "nowhere"

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
    splits_leading = True

    source_array_config: Any = attrs.field(metadata={"gp_arrays_source": True})

    def infer(self, *sources: Any) -> Any:
        return sources[0]

    def kernel(self, dtype: Any, *sources: Any) -> Any:
        COMPUTED.add(sources[0].size)
        return 255 - sources[0]
