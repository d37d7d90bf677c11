"""Ones throughout."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from ..model.base import OneSourceConfig
from ..model.meta import Block, Meta, Region, Voxels


@attrs.frozen(eq=False, repr=False)
class OnesArrayConfig(OneSourceConfig):
    """bool ones with the extent, voxel size and axes of an array, no voxel of which is read.

    Args:
        name: The array's name.
        source_array_config: Any array.

    >>> import gp_arrays as gpa
    >>> gpa.OnesArrayConfig("ones", gpa.DummyArrayConfig("d")).array()[0, 0, :3]
    array([ True,  True,  True])
    """

    keeps_constant = True
    any_nonspatial_axes = True
    supports_channel_subset = True

    def infer_from(self, source: Meta) -> Meta:
        return attrs.evolve(source, dtype=np.bool_, interpolatable=False, averaged=False)

    def context_of(self, region: Region, meta: Meta, source: Meta) -> None:
        return None

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        return np.ones(meta.shape_of(region), np.bool_)
