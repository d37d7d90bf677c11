"""An array type of one's own: the boundaries between labels, with the context that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import gunpowder as gp
import numpy as np

import gp_arrays as gpa
from gp_arrays.extension import SOURCE, ArrayConfig, Block, Meta, Region, TreeError, require_integer_ids


def boundaries(labels: np.ndarray[Any, Any], dims: int) -> np.ndarray[Any, Any]:
    """uint8: 1 where the next voxel along one of the last ``dims`` axes has another id; the last voxels are dropped."""
    inner = labels[(..., *[slice(0, -1)] * dims)]
    result = np.zeros(inner.shape, bool)
    for axis in range(dims):
        next_along = [slice(1, None) if i == axis else slice(0, -1) for i in range(dims)]
        result |= labels[(..., *next_along)] != inner
    return result.view(np.uint8)


@attrs.frozen(eq=False, repr=False)
class BoundariesArrayConfig(ArrayConfig):
    """Where neighbouring ids differ, in each channel. The roi is the source's without the last voxel of each axis."""

    supports_channel_subset = True  # each channel needs only the same channel of the source
    any_nonspatial_axes = True  # samples and channels are treated alike

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)

    def infer(self, *sources: Meta) -> Meta:
        (source,) = sources
        require_integer_ids(source, "Boundaries")
        roi = source.roi
        if roi is not None:  # in a gunpowder pipeline, after Pad or RandomLocation, it has no bounds
            shape = roi.shape - source.voxel_size
            if 0 in shape:
                raise TreeError("Boundaries needs two voxels along each axis", found=f"roi {source.region}")
            roi = gpa.Roi(roi.begin, shape)
        return attrs.evolve(source, dtype=np.uint8, interpolatable=False, roi=roi)

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> list[Region]:
        end = tuple(e + v for e, v in zip(region.end, meta.voxel_size, strict=True))
        return [Region(region.begin, end, region.nonspatial)]  # one voxel more at the far end

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        (block,) = blocks
        assert block is not None  # only a source that ``context`` leaves out has no block
        return boundaries(block.data, meta.dims)


#: The same as a node for pipelines that are written by hand.
Boundaries = gpa.node_of(BoundariesArrayConfig)


if __name__ == "__main__":
    ids = gpa.NumpyArrayConfig("ids", data=np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]], np.uint32), voxel_size=(8, 8))
    array = BoundariesArrayConfig("edges", ids).array()
    print(array)
    print(array[:])
    assert array[:].tolist() == [[0, 1], [1, 1]]
    # in blocks it is the same, as each asks for the context that it needs
    assert np.array_equal(np.concatenate([array[:1], array[1:]]), array[:])
    print(gpa.explain(array.config))

    IDS, EDGES = gp.ArrayKey("IDS"), gp.ArrayKey("EDGES")
    pipeline = gpa.compile_pipeline({IDS: ids}) + gp.Pad(IDS, None) + gp.Stack(2) + Boundaries(IDS, EDGES)
    with gp.build(pipeline):
        batch = pipeline.request_batch(gp.BatchRequest({EDGES: gp.ArraySpec(gp.Roi((0, 0), (16, 16)))}))
    print(batch[EDGES].data.shape)
