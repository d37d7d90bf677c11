"""Ones everywhere."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from .constant import OneValueConfig


@attrs.frozen(eq=False, repr=False)
class OnesArrayConfig(OneValueConfig):
    """bool ones with the extent, voxel size and axes of an array. No voxel of the array is read.

    Args:
        name: The array's name.
        source_array_config: Any array.

    >>> import gp_arrays as gpa
    >>> gpa.OnesArrayConfig("ones", gpa.DummyArrayConfig("d")).array()[0, 0, :3]
    array([ True,  True,  True])
    """

    def value(self) -> Any:
        return np.bool_(True)
