"""A part of an array."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import TreeError
from ..model.base import ArrayConfig, PointwiseConfig
from ..model.config import SOURCE
from ..model.meta import Meta, Region, Voxels
from ..model.rois import Box, to_box
from ..units import whole_numbers


@attrs.frozen(eq=False, repr=False)
class CropArrayConfig(PointwiseConfig):
    """The part of an array that lies within a roi. Nothing is copied.

    Args:
        name: The array's name.
        source_array_config: Any array; axes are kept.
        roi: A ``Roi`` or ``[[offset], [shape]]``, on the source's voxel grid. What reaches
            outside of the source is cut off; a roi wholly outside is a TreeError.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.arange(6)[None], voxel_size=(1, 10))
    >>> gpa.CropArrayConfig("part", raw, roi=[[0, 20], [1, 100]]).array()[:]
    array([[2, 3, 4, 5]])
    """

    supports_channel_subset = True

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
    roi: Box = attrs.field(converter=to_box)

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        region = self._region(source)
        if not source.on_grid(region):
            raise TreeError(
                "the roi is not on the source's voxel grid",
                found=f"{region}",
                allowed=f"steps of {tuple(source.voxel_size)} from {source.origin}",
            )
        if source.roi is not None:
            inside = region.intersect(source.region)
            if inside.empty:
                raise TreeError(
                    "the roi lies outside of the source", found=f"{region}", allowed=f"within {source.region}"
                )
            region = inside
        return attrs.evolve(source, roi=region.roi)

    def _region(self, source: Meta) -> Region:
        offset, shape = (whole_numbers(part, source.unit, "the roi") for part in self.roi)
        if len(shape) != source.dims:
            raise TreeError("the roi has another number of axes than the source", found=len(shape), allowed=source.dims)
        return Region.of(Roi(offset, shape))

    def kernel(self, dtype: np.dtype[Any], *sources: Voxels) -> Voxels:
        return sources[0]
