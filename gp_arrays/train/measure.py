"""How far a network reads and in which steps its result moves, found by trying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError
from ..model.meta import Voxels
from .network import require_torch

#: Sizes of input that are tried, in voxels along each axis, smallest first.
SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 320)
#: A size that the network refuses is made larger by up to so many voxels.
NEARBY = 16
#: The part of an axis, in its middle, whose voxels are tried; a stride must be seen twice in it.
TRIED = 4


@attrs.frozen
class NetworkContext:
    """What a network reads around a voxel of its result, in voxels of its input.

    Attributes:
        context: How far it reads on each side at most, for each spatial axis. It is the context of a network that
            pads, and enough for any network.
        stride: The step in which the result moves with the input: tiles that begin at multiples of it see
            the same network.
        shrinks: By how many voxels the result is smaller than the input, on both sides together. Half of it is the
            context of a network that does not pad, for tiles that are whole strides.
        input_size: The size that it was tried with.
    """

    context: tuple[int, ...]
    stride: tuple[int, ...]
    shrinks: tuple[int, ...]
    input_size: tuple[int, ...]


def measure_context(model: Any, dims: int = 3, in_channels: int = 1, device: str = "cpu") -> NetworkContext:
    """The context, stride and size change of a network, for ``context_size`` and ``stride`` of an array.

    One voxel of the input is set to NaN: all voxels of the result that read it become NaN, whatever the
    weights are. The network is tried on growing inputs until the result shows both ends of what a voxel reaches.

    Args:
        model: A ``torch.nn.Module`` whose result has the voxel size of its input.
        dims: The number of spatial axes.
        in_channels: The number of channels of its input.
        device: Where it runs.

    Raises:
        ComputeError: Every voxel of the result reads every voxel of the input (as with instance normalization),
            the network accepts no size that is tried, or its result has another voxel size.

    ::

        network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 5))
        gpa.measure_context(network, dims=2)  # context=(3, 3), stride=(1, 1), shrinks=(6, 6)
    """
    torch = require_torch()
    trial = _Trial(torch, model.to(device).eval(), dims, in_channels, device)
    smallest: tuple[int, ...] | None = None
    for size in SIZES:
        accepted = trial.accepted_size(size)
        if accepted is None:
            continue
        shape, shrinks = accepted
        # an axis is tried by itself: the others are as small as the network takes
        others = smallest = smallest or shape
        axes = [trial.reach((*others[:axis], shape[axis], *others[axis + 1 :]), shrinks, axis) for axis in range(dims)]
        if all(axis is not None for axis in axes):
            reaches = [axis for axis in axes if axis is not None]
            return NetworkContext(
                tuple(reach for reach, _ in reaches), tuple(stride for _, stride in reaches), shrinks, shape
            )
    raise ComputeError(
        "no voxel of the result is out of reach of a voxel of the input",
        found=f"inputs of up to {SIZES[-1]} voxels along each axis",
        allowed="a network of limited reach that accepts such sizes, without instance or batch statistics",
    )


@attrs.frozen
class _Trial:
    torch: Any
    model: Any
    dims: int
    in_channels: int
    device: str

    def run(self, shape: Sequence[int], nan_at: Sequence[int] | None = None) -> Voxels:
        """Which voxels of the result are NaN, over all channels."""
        voxels = self.torch.zeros((1, self.in_channels, *shape), device=self.device)
        if nan_at is not None:
            voxels[(0, slice(None), *nan_at)] = float("nan")
        with self.torch.inference_mode():
            result = self.model(voxels)
        is_nan: Voxels = self.torch.isnan(result)[0].any(0).cpu().numpy()
        return is_nan

    def accepted_size(self, size: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The smallest input from ``size`` on that the network takes, and by how much its result is smaller."""
        for longer in range(NEARBY + 1):
            shape = (size + longer,) * self.dims
            try:
                result = self.run(shape).shape
            except RuntimeError:
                continue  # torch's answer to a size that layers cannot divide or join
            shrinks = tuple(a - b for a, b in zip(shape, result, strict=True))
            if len(result) == self.dims and all(s >= 0 and s % 2 == 0 for s in shrinks):
                return shape, shrinks
        return None

    def reach(self, shape: Sequence[int], shrinks: Sequence[int], axis: int) -> tuple[int, int] | None:
        """How far a voxel of the result reads along an axis, and the stride; None where the input is too small."""
        middle = [n // 2 for n in shape]
        margin = shrinks[axis] // 2
        spans = []
        window = shape[axis] // TRIED
        for at in range(middle[axis] - window // 2, middle[axis] - window // 2 + window):
            if not margin <= at < shape[axis] - margin:
                return None
            voxel = [*middle]
            voxel[axis] = at
            is_nan = self.run(shape, voxel)
            others = tuple(i for i in range(self.dims) if i != axis)
            touched = np.flatnonzero(is_nan.any(axis=others))
            if touched.size == 0 or touched[0] == 0 or touched[-1] == is_nan.shape[axis] - 1:
                return None
            # in voxels of the input: the result begins `margin` voxels inside of it
            spans.append((int(touched[0]) + margin - at, int(touched[-1]) + margin - at))
        stride = next(
            (s for s in range(1, window // 2 + 1) if all(a == b for a, b in zip(spans, spans[s:], strict=False))),
            None,
        )
        if stride is None:
            return None
        return max(max(-low, high) for low, high in spans), stride
