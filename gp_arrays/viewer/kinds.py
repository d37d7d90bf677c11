"""How an array is shown: as an image, as labels or as a mask, with which contrast and colours."""

from __future__ import annotations

import colorsys
import logging
import re
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import GpArraysError
from ..model.array import Array
from ..transforms.intensities import IntensitiesArrayConfig

logger = logging.getLogger(__name__)

IMAGE, LABELS, MASK = "image", "labels", "mask"
#: Voxels along each axis of the sample that a contrast range is taken from.
SAMPLE = 32
#: The largest value of a contrast range: the browser computes in 32 bits.
LARGEST = 1e37
#: Up to this many channels are mixed into one picture; of more channels a slider picks one.
MIXED = 12


def kind(array: Array) -> str:
    """``image``, ``labels`` or ``mask``.

    Masks are bool, or what a type says to be (``is_mask``), however cropped, picked or
    resampled. Labels are the other integers that are not interpolatable.
    """
    if array.dtype.kind == "f":
        return IMAGE
    if is_mask(array):
        return MASK
    return IMAGE if array.interpolatable else LABELS


def is_mask(array: Array) -> bool:
    """True if the values of an array mean yes or no."""
    pending, is_known = [array], False
    while pending:
        one = pending.pop()
        if one.dtype.kind == "b" or (one.config.is_mask and one.dtype.itemsize <= 4 and one.dtype.kind != "f"):
            is_known = True
            continue
        if not one.sources or any(source.dtype != one.dtype for source in one.sources):
            return False
        pending.extend(one.sources)
    return is_known


def contrast(array: Array) -> tuple[float, float]:
    """The values that are shown as black and as white.

    Intensities, however cropped or resampled, declare theirs: 0 and 1. Other bytes have
    the range of the dtype, unless a small sample in the middle holds only 0 and 1. All other
    arrays have the 1st and 99th percentile of that sample.
    """
    one = array
    while not isinstance(one.config, IntensitiesArrayConfig):
        if len(one.sources) != 1 or one.sources[0].dtype != one.dtype:
            break
        one = one.sources[0]
    else:
        return 0.0, 1.0
    limits = (0.0, 1.0) if array.dtype.kind == "f" else _limits(array)
    try:
        sample = _sample(array)
    except GpArraysError as error:
        logger.warning("%s: contrast is a guess: %s", array.name, error)
        return limits
    sample = sample[np.isfinite(sample)].astype(np.float64)
    sample = sample[np.abs(sample) < LARGEST]
    if sample.size == 0:
        return limits
    if array.dtype.itemsize == 1:
        return (0.0, 1.0) if array.dtype.kind == "u" and sample.max() == 1 else limits
    low, high = (float(value) for value in np.percentile(sample, [1, 99]))
    return (low, high) if low < high else (low, low + 1.0)


def _limits(array: Array) -> tuple[float, float]:
    info = np.iinfo(array.dtype)
    return float(info.min), float(info.max)


def _sample(array: Array) -> np.ndarray[Any, Any]:
    nonspatial = array.ndim - array.dims
    key = [slice(0, min(n, MIXED)) for n in array.shape[:nonspatial]]
    for n in array.shape[nonspatial:]:
        begin = max(0, (n - SAMPLE) // 2)
        key.append(slice(begin, min(n, begin + SAMPLE)))
    return array[tuple(key)]


@attrs.frozen
class Colour:
    """A channel's name for the shader, and its colour."""

    name: str
    colour: str


def palette(count: int, start: float = 0.0) -> list[str]:
    """Colours that differ clearly; for three they are red, green and blue.

    >>> palette(3)
    ['#ff0000', '#00ff00', '#0000ff']
    """
    hues = [(start + i / max(count, 1)) % 1 for i in range(count)]
    colours = [[round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 1)] for hue in hues]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]


def named(channels: Sequence[str], colours: Sequence[str]) -> list[Colour]:
    """Channels with different names, each of which a shader accepts.

    >>> [one.name for one in named(["pre-synapse", "pre synapse", "1"], palette(3))]
    ['pre_synapse', 'pre_synapse_2', '1']
    """
    colours_by_channel: list[Colour] = []
    for channel, colour in zip(channels, colours, strict=True):
        clean = re.sub(r"[^A-Za-z0-9]+", "_", channel).strip("_") or "channel"
        name, count = clean, 1
        while any(name == other.name for other in colours_by_channel):
            count += 1
            name = f"{clean}_{count}"
        colours_by_channel.append(Colour(name, colour))
    return colours_by_channel


GRAY = """#uicontrol invlerp contrast
#uicontrol vec3 color color(default="white")
void main() {
  emitRGB(color * contrast());
}
"""

TINT = """#uicontrol vec3 color color(default="%s")
void main() {
  if (float(toRaw(getDataValue())) != 0.0) emitRGB(color);
  else emitTransparent();
}
"""


def mixing(channels: Sequence[Colour]) -> str:
    """A shader that adds up the channels that are switched on, each in its colour.

    All channels have one contrast.
    """
    start = ["#uicontrol invlerp contrast", "void main() {", "  vec3 sum = vec3(0.0);"]
    added = "  if (show_{name}) sum += color_{name} * contrast(getDataValue({i}));"
    return _shader(channels, start, added, ["  emitRGB(sum);"])


def tinting(channels: Sequence[Colour]) -> str:
    """A shader that shows where channels are not 0: each in its colour, and the mean colour where they overlap."""
    start = ["void main() {", "  vec4 sum = vec4(0.0);"]
    added = "  if (show_{name} && float(toRaw(getDataValue({i}))) != 0.0) sum += vec4(color_{name}, 1.0);"
    end = ["  if (sum.a > 0.0) emitRGB(sum.rgb / sum.a);", "  else emitTransparent();"]
    return _shader(channels, start, added, end)


def _shader(channels: Sequence[Colour], start: list[str], added: str, end: list[str]) -> str:
    """A shader with a colour and a checkbox for each channel; ``added`` is the line of a channel."""
    control = '#uicontrol vec3 color_{0} color(default="{1}")\n#uicontrol bool show_{0} checkbox(default=true)'
    controls = [control.format(one.name, one.colour) for one in channels]
    sums = [added.format(name=one.name, i=i) for i, one in enumerate(channels)]
    return "\n".join([*controls, *start, *sums, *end, "}", ""])
