"""The voxels of a mask in a pipeline, and their counts: from its tree where that is upstream, else from other nodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import TreeError
from ..model.evaluate import evaluate
from ..model.meta import Voxels
from .nodes import FilterNode
from .occupancy import Occupancy, channels_of, occupancies, occupancies_of_step, require_mask
from .steps import Compiled, Outputs, SourceNode

#: Voxels of a mask that comes from other nodes, read at once and counted in cells.
BLOCK, CELL = 256, 32


class MaskReader:
    """The voxels of a mask, as other nodes provide them.

    Attributes:
        roi: Of the mask, in coordinates of the pipeline.
        voxel_size: Of the mask.
        names: Names of the channels.
    """

    names: Sequence[str]

    def __init__(self, provider: gp.BatchProvider, key: gp.ArrayKey) -> None:
        spec = provider.spec[key]
        if spec.roi is None or spec.roi.unbounded or None in spec.roi.offset:
            raise TreeError(
                f"{key} is unbounded, so that it cannot be counted",
                found=str(spec.roi),
                allowed="RandomLocationInMask before the node that pads without bounds",
                path=("RandomLocationInMask",),
            )
        self.provider, self.key, self.roi, self.voxel_size = provider, key, spec.roi, spec.voxel_size
        self.names = ()

    def voxels(self, roi: Roi) -> Voxels:
        batch = self.provider.request_batch(gp.BatchRequest({self.key: gp.ArraySpec(roi=roi)}))
        data: Voxels = batch[self.key].data
        return data

    def count(self, roi: Roi, channel: int | None) -> int:
        """How many voxels of a roi are masked in."""
        part = roi.intersect(self.roi)
        if part.empty:
            return 0
        voxels = channels_of(self.voxels(part), part.dims, channel is not None)
        return int(np.count_nonzero(voxels[channel or 0]))

    def occupancies(self, by_channel: bool, cache_file: Path | None) -> list[Occupancy]:
        """The voxels that are masked in, counted in cells: of all channels together, or channel by channel."""
        if cache_file is not None:
            raise TreeError(
                "cache_file is for masks of a compiled tree",
                found=f"{self.key}, which other nodes make",
                path=("RandomLocationInMask",),
            )
        shape = tuple(map(int, (self.roi / self.voxel_size).shape))

        def blocks() -> Iterator[tuple[Sequence[int], Any]]:
            for begin in itertools.product(*(range(0, n, BLOCK) for n in shape)):
                block = Roi(self.roi.begin + Coordinate(begin) * self.voxel_size, self.voxel_size * BLOCK)
                yield begin, channels_of(self.voxels(block.intersect(self.roi)), len(shape), by_channel)

        counted = occupancies(shape, (CELL,) * len(shape), blocks())
        self.names = tuple(map(str, range(len(counted))))
        return counted


class _TreeMaskReader(MaskReader):
    """The voxels of a mask of a compiled tree, read without the nodes in between."""

    def __init__(self, compiled: Compiled, index: int) -> None:
        meta = compiled.plan.steps[index].meta
        require_mask(meta, compiled.plan.steps[index].config.name)
        self.compiled, self.index = compiled, index
        self.roi, self.voxel_size = compiled.spec(index).roi, meta.voxel_size
        self.names = meta.channels or ("0",)

    def voxels(self, roi: Roi) -> Voxels:
        data: Voxels = evaluate(self.compiled.plan, [(self.index, self.compiled.world(roi))])[0]
        return data

    def occupancies(self, by_channel: bool, cache_file: Path | None) -> list[Occupancy]:
        return occupancies_of_step(self.compiled.plan, self.index, by_channel, cache_file)


def mask_reader(provider: gp.BatchProvider, key: gp.ArrayKey) -> MaskReader:
    """The reader of a mask: that of its tree, unless nodes in between may change it."""
    node = provider
    while True:
        node = node.output if isinstance(node, gp.Pipeline) else node
        if isinstance(node, Outputs) and key in node.outputs:
            return _TreeMaskReader(node.compiled, node.outputs[key])
        if isinstance(node, SourceNode) and node.compiled is not None:
            return _TreeMaskReader(node.compiled, node.index)
        passes = isinstance(node, (gp.Pad, gp.MergeProvider)) or (isinstance(node, FilterNode) and node.target != key)
        above = [branch for branch in node.get_upstream_providers() if key in branch.spec] if passes else []
        if len(above) != 1 or (isinstance(node, gp.Pad) and node.key == key and node.value):
            return MaskReader(provider, key)
        (node,) = above
