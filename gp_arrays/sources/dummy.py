"""An array of zeros, for experiments."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from ..model.base import SourceConfig
from ..model.opened import Opened
from ..units import Quantity


@attrs.frozen(eq=False, repr=False)
class DummyArrayConfig(SourceConfig):
    """float64 zeros of shape (100, 50, 50) at voxel size (1, 2, 2), offset 0.

    ``verify()`` is always False: it stands for data that do not exist yet.

    >>> import gp_arrays as gpa
    >>> gpa.DummyArrayConfig("later").array()
    <gp_arrays.Array 'later' float64[100, 50, 50] axes=z,y,x roi=[0:100, 0:100, 0:100] voxel_size=(1, 2, 2) nm>
    """

    def open(self, mode: str | None = None) -> Opened:
        return DummyOpened()

    def reason(self) -> str | None:
        return "a DummyArrayConfig stands for data that do not exist"


class DummyOpened(Opened):
    """The zeros, as a source."""

    shape = (100, 50, 50)
    dtype = np.dtype("float64")
    nonspatial = ()
    spatial_axes = ("z", "y", "x")
    voxel_size = tuple(Quantity.parse(size) for size in (1, 2, 2))
    offset = tuple(Quantity.parse(0) for _ in range(3))
    interpolatable = True
    location = "a dummy array"

    def __init__(self) -> None:
        self.attrs = {}

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        return np.zeros([part.stop - part.start for part in index], self.dtype)
