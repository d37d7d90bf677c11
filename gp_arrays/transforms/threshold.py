"""Where values exceed a threshold."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from ..model import fields
from ..model.base import ArrayConfig, PointwiseConfig
from ..model.config import SOURCE
from ..model.meta import Meta, Voxels


def threshold(data: Voxels, value: float, above: bool = True) -> Voxels:
    """uint8 1 where ``data > value``, or where ``data <= value`` if not ``above``; NaN is 0.

    >>> threshold(np.array([1, 2, 3]), 2).tolist(), threshold(np.array([1, 2, 3]), 2, above=False).tolist()
    ([0, 0, 1], [1, 1, 0])
    """
    if data.dtype.kind == "f":
        # one beyond the dtype's range would round to infinity, which infinity does not exceed
        most = float(np.finfo(data.dtype).max)
        value = most if value > most else -math.inf if value < -most else value
    else:
        # integers against the integer below, exactly: no detour through floats
        data = data.view(np.uint8) if data.dtype.kind == "b" else data
        value = math.floor(value)
    out = np.empty(data.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        (np.greater if above else np.less_equal)(data, value, out=out.view(bool))
    return out


@attrs.frozen(eq=False, repr=False)
class ThresholdArrayConfig(PointwiseConfig):
    """uint8: 1 where the source is above a threshold, else 0.

    Args:
        name: The array's name.
        source_array_config: Any array; axes are kept.
        threshold: A number. Integers are compared exactly; a float source compares in
            its own precision.
        above: False for 1 where the source is not above it.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[10, 200]], np.uint8))
    >>> gpa.ThresholdArrayConfig("bright", raw, threshold=128).array()[:]
    array([[0, 1]], dtype=uint8)
    """

    supports_channel_subset = True
    is_mask = True

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
    threshold: float = attrs.field(converter=fields.to_number)
    above: bool = attrs.field(default=True, converter=fields.to_bool)

    def infer(self, *sources: Meta) -> Meta:
        return attrs.evolve(sources[0], dtype=np.uint8, interpolatable=False, averaged=False)

    def kernel(self, dtype: np.dtype[Any], *sources: Voxels) -> Voxels:
        return threshold(sources[0], self.threshold, self.above)
