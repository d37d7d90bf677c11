"""How an array is shown: as an image, as labels or as a mask, with which contrast and colours."""

from __future__ import annotations

import colorsys
import itertools
import logging
import re
from collections.abc import Sequence

import numpy as np

from ..errors import GpArraysError
from ..model.array import Array
from ..model.meta import Voxels
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

    Masks are bool arrays, arrays whose type declares them (``is_mask``), and crops, selections and resampled
    copies of these. Labels are the other integers that are not interpolatable.
    """
    if array.dtype.kind == "f":
        return IMAGE
    if is_mask(array):
        return MASK
    return IMAGE if array.interpolatable else LABELS


def is_mask(array: Array) -> bool:
    """True if the values of an array mean yes or no."""
    steps = array.plan.steps
    masks: list[bool] = []
    for step in steps:
        dtype = step.meta.dtype
        masks.append(
            dtype == np.dtype(bool)
            or (step.config.is_mask and dtype is not None and dtype.kind != "f" and dtype.itemsize <= 4)
            or (bool(step.sources) and all(masks[i] and steps[i].meta.dtype == dtype for i in step.sources))
        )
    return masks[array.index]


def contrast(array: Array) -> tuple[float, float]:
    """The values that are shown as black and as white.

    Intensities, however cropped or resampled, declare theirs: 0 and 1. Other bytes have
    the range of the dtype, unless a small sample in the middle holds only 0 and 1. All other
    arrays have the 1st and 99th percentile of that sample.
    """
    origin = array
    while not isinstance(origin.config, IntensitiesArrayConfig):
        if [source.dtype for source in origin.sources] != [array.dtype]:
            break
        (origin,) = origin.sources
    else:
        return 0.0, 1.0
    info = np.iinfo(array.dtype if array.dtype.kind in "ui" else "uint8")
    limits = (0.0, 1.0) if array.dtype.kind == "f" else (float(info.min), float(info.max))
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


def _sample(array: Array) -> Voxels:
    nonspatial = array.ndim - array.dims
    key = [slice(0, min(n, MIXED)) for n in array.shape[:nonspatial]]
    key += [slice(max(0, (n - SAMPLE) // 2), max(0, (n - SAMPLE) // 2) + SAMPLE) for n in array.shape[nonspatial:]]
    return array[tuple(key)]


def palette(count: int, start: float = 0.0) -> list[str]:
    """Colours that differ clearly; for three they are red, green and blue.

    >>> palette(3)
    ['#ff0000', '#00ff00', '#0000ff']
    """
    hues = [(start + i / max(count, 1)) % 1 for i in range(count)]
    colours = [[round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 1)] for hue in hues]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]


def shader_names(channels: Sequence[str]) -> list[str]:
    """A different name for each channel, of letters that a shader accepts.

    >>> shader_names(["pre-synapse", "pre synapse", "1"])
    ['pre_synapse', 'pre_synapse_2', '1']
    """
    names: list[str] = []
    for channel in channels:
        accepted = re.sub(r"[^A-Za-z0-9]+", "_", channel).strip("_") or "channel"
        numbered = (f"{accepted}_{count}" for count in itertools.count(2))
        names.append(next(name for name in itertools.chain([accepted], numbered) if name not in names))
    return names


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

#: Adds up the channels that are switched on, each in its colour. All channels have one contrast.
MIX = """#uicontrol invlerp contrast
%(controls)s
void main() {
  vec3 sum = vec3(0.0);
%(channels)s
  emitRGB(sum);
}
"""
MIX_CHANNEL = "  if (show_{name}) sum += color_{name} * contrast(getDataValue({i}));"

#: Shows where channels are not 0: each in its colour, and the mean colour where they overlap.
TINT_CHANNELS = """%(controls)s
void main() {
  vec4 sum = vec4(0.0);
%(channels)s
  if (sum.a > 0.0) emitRGB(sum.rgb / sum.a);
  else emitTransparent();
}
"""
TINT_CHANNEL = "  if (show_{name} && float(toRaw(getDataValue({i}))) != 0.0) sum += vec4(color_{name}, 1.0);"
CONTROLS = '#uicontrol vec3 color_{name} color(default="{colour}")\n#uicontrol bool show_{name} checkbox(default=true)'


def shader(array: Array, what: str, mixed: bool, hue: float = 0.0) -> str:
    """The shader of an image or a mask, with a colour and a checkbox for each channel that it mixes.

    Args:
        array: What is shown.
        what: ``image`` or ``mask``.
        mixed: True if its channels are mixed.
        hue: The hue of the first colour of a mask, from 0 (red) to 1.
    """
    channels = (array.channels or ()) if mixed else ()
    if not channels:
        return TINT % palette(1, hue)[0] if what == MASK else GRAY
    if what == MASK:
        template, line, colours = TINT_CHANNELS, TINT_CHANNEL, palette(len(channels), hue)
    else:
        template, line = MIX, MIX_CHANNEL
        colours = ["#ffffff"] if len(channels) == 1 else palette(max(3, len(channels)))[: len(channels)]
    named = [
        {"name": name, "colour": colour, "i": i}
        for i, (name, colour) in enumerate(zip(shader_names(channels), colours, strict=True))
    ]
    parts = {"controls": CONTROLS, "channels": line}
    return template % {part: "\n".join(text.format(**one) for one in named) for part, text in parts.items()}
