"""How many voxels each class or id of an array has, and the weights that balance them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import TreeError, errors_at
from ..model import fields
from ..model.absent import map_blocks
from ..model.checks import require_channels_only
from ..model.config import require_config
from ..model.meta import Region, Voxels
from ..model.plan import compile_plan
from ..transforms.crop import CropArrayConfig


def count(
    config: Any, roi: Any = None, num_workers: int = 1, unit: str | None = None
) -> dict[str, int] | dict[int, int]:
    """The number of voxels of each id; of an array with channels, of each channel where it is not 0.

    The array is read once, block by block, but not where absent chunks prove that it is 0.

    Args:
        config: An array of integers or bool; or one with channels, of any dtype.
        roi: Where to count, in world units; by default everywhere.
        num_workers: Blocks that are read at once, each by a thread.
        unit: The unit of the tree; by default what its file says, else nm.

    Returns:
        By id, in order, 0 included if there is any; or by name of the channel.

    Raises TreeError for floats without channels, and for axes other than channels.

    >>> import gp_arrays as gpa, numpy as np
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.array([[0, 7, 7]], np.uint64))
    >>> gpa.count(ids)
    {0: 1, 7: 2}
    >>> gpa.count(gpa.BinarizeArrayConfig("masks", ids, [("seven", [7]), ("any", [])]))
    {'seven': 2, 'any': 2}
    """
    require_config(config)
    workers = fields.named("num_workers", fields.to_count, num_workers)
    if roi is not None:
        config = CropArrayConfig(f"{config.name}, in a roi", config, roi)
    plan = compile_plan({config.name: config}, unit)
    index = plan.outputs[config.name]
    meta = plan.steps[index].meta
    with errors_at(config.name):
        require_channels_only(meta, "axes other than channels cannot be counted")
    names = meta.channels
    if names is None and meta.dtype is not None and meta.dtype.kind not in "uib":
        raise TreeError(
            "an array without channels is counted by its ids",
            found=f"dtype {meta.dtype}",
            allowed="integers",
            path=(config.name,),
        )

    def count_block(_: Region, voxels: Voxels) -> tuple[Voxels, Voxels]:
        if names is None:
            return np.unique(voxels, return_counts=True)
        return np.arange(len(names)), np.array([np.count_nonzero(channel) for channel in voxels])

    totals: dict[Any, int] = {} if names is None else dict.fromkeys(range(len(names)), 0)
    counted = 0
    for ids, counts in map_blocks(plan, index, count_block, workers):
        counted += int(counts.sum())
        for value, number in zip(ids.tolist(), counts.tolist(), strict=True):
            totals[value] = totals.get(value, 0) + number
    if names is not None:
        return {names[channel]: number for channel, number in totals.items()}
    skipped = int(np.prod(meta.spatial_shape, dtype=object)) - counted
    if skipped:  # blocks of absent chunks
        totals[0] = totals.get(0, 0) + skipped
    return {int(value): totals[value] for value in sorted(totals)}


def class_weights(counts: Mapping[Any, int]) -> dict[Any, float]:
    """Weights that give each class the same part of a loss: inversely proportional to its voxels, 1 on average.

    A class without voxels has weight 0.

    >>> class_weights({"rare": 1, "common": 3, "absent": 0})
    {'rare': 1.5, 'common': 0.5, 'absent': 0.0}
    """
    present = [number for number in counts.values() if number]
    scale = len(present) / sum(1 / number for number in present) if present else 0.0
    return {name: scale / number if number else 0.0 for name, number in counts.items()}
