"""Where any channel is set."""

from __future__ import annotations

import attrs
import numpy as np

from ..model.base import OneSourceConfig
from ..model.meta import CHANNEL, Block, Meta, Region, Voxels


def logical_or(data: Voxels, axis: int | None) -> Voxels:
    """uint8: 1 where any entry along ``axis`` is not zero; of each voxel itself where axis is None.

    >>> logical_or(np.array([[0, 2, 0], [0, 1, 1]]), 0)
    array([0, 1, 1], dtype=uint8)
    """
    entries = data[np.newaxis] if axis is None else np.moveaxis(data, axis, 0)
    out = np.empty(entries.shape[1:], np.uint8)
    result = out.view(bool)
    np.not_equal(entries[0], 0, out=result)
    for entry in entries[1:]:
        np.logical_or(result, entry, out=result)
    return out


@attrs.frozen(eq=False, repr=False)
class LogicalOrArrayConfig(OneSourceConfig):
    """uint8: 1 where any channel of an array is not zero, else 0. The channel axis goes.

    Args:
        name: The array's name.
        source_array_config: Any array; one without channels is compared with zero itself.

    >>> import gp_arrays as gpa, numpy as np
    >>> two = gpa.NumpyArrayConfig("two", data=np.array([[[0, 1]], [[0, 5]]]), axes=("c", "y", "x"))
    >>> gpa.LogicalOrArrayConfig("any", two).array()[:]
    array([[0, 1]], dtype=uint8)
    """

    keeps_constant = True
    is_mask = True

    def infer_from(self, source: Meta) -> Meta:
        nonspatial = source.nonspatial
        if nonspatial is not None:
            nonspatial = tuple(axis for axis in nonspatial if axis.name != CHANNEL)
        return attrs.evolve(source, dtype=np.uint8, nonspatial=nonspatial, interpolatable=False, averaged=False)

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        names = [axis.name for axis in block.meta.nonspatial or ()]
        return logical_or(block.data, names.index(CHANNEL) if CHANNEL in names else None)
