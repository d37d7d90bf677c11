"""The pipeline of a user's own gunpowder nodes, and the source that feeds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate

from ..errors import ComputeError
from ..model.meta import Block, Meta, Region
from .functions import import_function
from .steps import add_array, spec_of
from .tiles import grid_corner


class BlockSource(gp.BatchProvider):  # type: ignore[misc]
    """Provides the voxels of one block."""

    def __init__(self, key: gp.ArrayKey, meta: Meta, shift: Coordinate) -> None:
        self.key, self.meta, self.shift = key, meta, shift
        self.block: Block | None = None

    def setup(self) -> None:
        self.provides(self.key, spec_of(self.meta, self.meta.region.roi.shift(-self.shift)))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        assert self.block is not None
        requested = Region.of(request[self.key].roi.shift(self.shift))
        if not requested.empty and not self.block.region.contains(requested):
            raise ComputeError(
                "the appended nodes read further than the context",
                found=requested,
                allowed=f"within {self.block.region}; a larger context_size, or padded=True with a gp.Pad",
            )
        roi, voxels = request[self.key].roi, np.array(self.block.crop(requested))
        return add_array(gp.Batch(), self.key, self.spec[self.key], roi, voxels)


class AppendedNodes:
    """A pipeline of appended nodes, set up once. One thread uses it."""

    def __init__(self, append: str, arguments: Mapping[str, Any], content: str, source: Meta) -> None:
        self.source_key = gp.ArrayKey(f"gp_arrays/source/{content}")
        self.target = gp.ArrayKey(f"gp_arrays/target/{content}")
        # gunpowder needs offsets that are multiples of the voxel size
        self.shift = Coordinate(grid_corner(source))
        self.source = BlockSource(self.source_key, source, self.shift)
        function = import_function(append)
        self.pipeline = function(gp.Pipeline(self.source), self.source_key, self.target, **arguments)
        self.pipeline.setup()

    def request(self, block: Block, region: Region, reads: Region) -> Any:
        """The target's voxels of a region. ``reads`` is what the nodes may read of the source."""
        self.source.block = block
        try:
            request = gp.BatchRequest()
            request[self.target] = gp.ArraySpec(roi=region.roi.shift(-self.shift))
            spec = self.pipeline.spec
            if self.source_key in spec:
                # nodes that predict take what is in the batch: they ask for nothing by themselves
                roi = reads.roi.shift(-self.shift).intersect(spec[self.source_key].roi)
                request[self.source_key] = gp.ArraySpec(roi=roi)
            return self.pipeline.request_batch(request)[self.target].data
        finally:
            self.source.block = None
