"""An array type of one's own: distance-free boundaries of labels, with the context it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

import gp_arrays as gpa
from gp_arrays.model.config import SOURCE
from gp_arrays.model.meta import Block, Meta, Region


def boundaries(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint8: 1 where the next voxel along any axis carries another id; the last voxels are dropped."""
    inner = labels[tuple(slice(0, -1) for _ in labels.shape)]
    found = np.zeros(inner.shape, bool)
    for axis in range(labels.ndim):
        shifted = labels[tuple(slice(1, None) if i == axis else slice(0, -1) for i in range(labels.ndim))]
        found |= shifted != inner
    return found.view(np.uint8)


@attrs.frozen(eq=False, repr=False)
class BoundariesArrayConfig(gpa.ArrayConfig):
    """Where neighbouring ids differ. The roi is the source's less one voxel at each end."""

    source_array_config: gpa.ArrayConfig = attrs.field(metadata=SOURCE)

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        roi = source.region.roi
        return attrs.evolve(
            source, dtype=np.uint8, interpolatable=False, roi=gpa.Roi(roi.begin, roi.shape - source.voxel_size)
        )

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> list[Region]:
        end = tuple(e + v for e, v in zip(region.end, meta.voxel_size, strict=True))
        return [Region(region.begin, end)]  # one voxel more at the far end

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        (block,) = blocks
        assert block is not None
        return boundaries(block.data)


if __name__ == "__main__":
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]], np.uint32), voxel_size=(8, 8))
    array = BoundariesArrayConfig("edges", ids).array()
    print(array)
    print(array[:])
    assert array[:].tolist() == [[0, 1], [1, 1]]
    # in blocks it is the same, as each asks for the context that it needs
    assert np.array_equal(np.concatenate([array[:1], array[1:]]), array[:])
    print(gpa.explain(array.config))
