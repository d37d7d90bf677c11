"""Random crops that hold enough of a mask, of any size."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import gunpowder as gp
from funlib.geometry import Coordinate, Roi

from ..errors import ComputeError, ConfigError, TreeError, quoted
from ..model import fields
from .crop_positions import Begins, CropPositions
from .mask_reader import MaskReader, mask_reader
from .occupancy import Occupancy

logger = logging.getLogger(__name__)

#: So many positions in a row that do not hold enough are an error.
MOST_TRIES = 10_000


@attrs.define(eq=False)
class _Mask:
    """A mask, and how likely a crop is drawn by it.

    Attributes:
        name: For messages.
        key: The array key that provides it.
        channel: The channel that counts; None where any does.
        weight: How likely it is drawn, relative to the others.
        occupancy: Its voxels in the cells of a coarse grid.
        reader: Tells the voxels of it in a roi.
    """

    name: str
    key: gp.ArrayKey
    channel: int | None
    weight: float
    occupancy: Occupancy
    reader: MaskReader


class RandomLocationInMask(gp.RandomLocation):  # type: ignore[misc]
    """Moves each request to a random position at which enough of it lies in a mask, which may be of any size.

    Every position at which the crop holds at least ``min_masked`` of the mask is as likely as any other. Where
    ``gunpowder.RandomLocation`` keeps the mask in memory, this node counts its voxels once, block by
    block, in the cells of a coarse grid, which takes a few megabytes; of a mask in a tree, compiled upstream,
    absent chunks are not read. A position that the counts do not rule out is then checked on the
    voxels. The crop is what is requested of the mask, or, where it is not requested, what all
    requested arrays share.

    Args:
        masks: The key of a mask; or several, of which one is drawn for each request; or a mapping
            of keys to how likely each is drawn, relative to the others. A voxel is masked in where the mask is not 0.
        min_masked: The least part of the crop that is masked in, above 0 and at most 1.
        channels: Of a mask with channels: ``"any"``: a voxel is masked in where any channel is. ``"each"``: one
            channel is drawn for each request, all equally likely, which balances classes. Or a mapping
            of names (or indices) of channels to how likely each is drawn.
        cache_file: Where the counts are kept for the next time (``.npz``), for one mask of a tree.

    Raises:
        TreeError: When built: a mask that is not provided, is unbounded, or has axes other than channels.
        ComputeError: When a request finds no position at which the crop holds enough.

    >>> import gunpowder as gp, numpy as np
    >>> import gp_arrays as gpa
    >>> ids = gpa.NumpyArrayConfig("ids", data=np.eye(8, dtype=np.uint8))
    >>> IDS, MASK = gp.ArrayKey("IDS"), gp.ArrayKey("MASK")
    >>> pipeline = gpa.compile_pipeline({IDS: ids, MASK: gpa.ThresholdArrayConfig("mask", ids, 0)})
    >>> pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.5)
    >>> request = gp.BatchRequest()
    >>> request.add(IDS, (2, 2))
    >>> request.add(MASK, (2, 2))
    >>> with gp.build(pipeline):
    ...     pipeline.request_batch(request)[IDS].data.tolist()
    [[1, 0], [0, 1]]
    """

    def __init__(
        self,
        masks: gp.ArrayKey | Sequence[gp.ArrayKey] | Mapping[gp.ArrayKey, float],
        min_masked: float,
        channels: str | Mapping[str | int, float] = "any",
        cache_file: str | Path | None = None,
    ) -> None:
        super().__init__()
        single = isinstance(masks, gp.ArrayKey)
        self.masks = _weights({masks: 1.0} if single else masks, "masks", gp.ArrayKey)
        self.least_part = float(fields.named("min_masked", fields.to_number, min_masked))
        if not 0 < self.least_part <= 1:
            raise ConfigError("min_masked is out of range", found=min_masked, allowed="above 0 and at most 1")
        self.channels: Any = channels if channels in ("any", "each") else _weights(channels, "channels", (str, int))
        self.cache_file = None if cache_file is None else fields.named("cache_file", fields.to_path, cache_file)
        if self.cache_file is not None and len(self.masks) > 1:
            raise ConfigError(
                "cache_file cannot hold several masks", found=f"{len(self.masks)} masks", allowed="one mask"
            )
        self._drawn: list[_Mask] = []
        self._positions: dict[Any, list[tuple[_Mask, CropPositions]]] = {}

    def setup(self) -> None:
        super().setup()
        upstream = self.get_upstream_provider()
        self._drawn, self._positions = [], {}
        for key, weight in self.masks.items():
            if key not in upstream.spec:
                raise TreeError("the mask is not provided upstream", found=str(key), path=("RandomLocationInMask",))
            reader = mask_reader(upstream, key)
            counted = reader.occupancies(self.channels != "any", self.cache_file)
            weights = self._channel_weights(reader.names, len(counted), str(key))
            total = sum(weights.values())
            for channel, part in weights.items():
                name = str(key) if channel is None else f"{key}, channel {reader.names[channel]}"
                # a fork shares the counts, so only the reader belongs to this pipeline
                mask = _Mask(name, key, channel, weight * part / total, counted[channel or 0], reader)
                self._drawn.append(mask)

    def _channel_weights(self, names: Sequence[str], count: int, mask: str) -> dict[int | None, float]:
        if self.channels == "any":
            return {None: 1.0}
        if self.channels == "each":
            return dict.fromkeys(range(count), 1.0)
        weights: dict[int | None, float] = {}
        for name, weight in self.channels.items():
            if isinstance(name, str) and name in names:
                weights[list(names).index(name)] = weight
            elif isinstance(name, int) and 0 <= name < count:
                weights[name] = weight
            else:
                raise TreeError(f"{mask} has no such channel", found=quoted(name), allowed=", ".join(names))
        return weights

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        grid = self.spec.get_lcm_voxel_size([*request.array_specs.keys(), *self.masks])
        candidates = self._candidates(request, grid, self._shifts(request))
        while candidates:
            # the mask is drawn first: a mask with more positions is not more likely
            (chosen,) = random.choices(candidates, [mask.weight for mask, _ in candidates])
            for _ in range(MOST_TRIES):
                shift = self._try(request, *chosen)
                if shift is not None:
                    self.random_shift = shift
                    _move(request, shift)
                    return request
            logger.warning("RandomLocationInMask: of %d crops none held enough of %s", MOST_TRIES, chosen[0].name)
            candidates.remove(chosen)
        crops = ", ".join(str(tuple(self._crop(request, mask).shape)) for mask in self._drawn)
        raise ComputeError(
            "no position of the crop holds enough of the mask",
            found=", ".join(mask.name for mask in self._drawn),
            allowed=f"masks of which crops of {crops} hold {self.least_part:g}",
            path=("RandomLocationInMask",),
        )

    def _try(self, request: gp.BatchRequest, mask: _Mask, positions: CropPositions) -> Coordinate | None:
        """How far a request is moved to a random position, if the crop holds enough of the mask there."""
        begin, certain = positions.draw(random.randrange)
        crop, size = self._crop(request, mask), mask.reader.voxel_size
        shift = mask.reader.roi.begin + Coordinate(begin) * size - crop.begin
        if not certain and mask.reader.count(crop.shift(shift), mask.channel) < self._least(crop / size):
            return None
        moved = request.copy()
        _move(moved, shift)
        return shift if self.accepts(moved) else None

    def _least(self, crop: Roi) -> int:
        """How many voxels of a crop, in voxels, must be masked in."""
        size = math.prod(map(int, crop.shape))
        least = math.ceil(self.least_part * size)
        # as a ratio of floats, which is what people compare
        while least > 1 and (least - 1) / size >= self.least_part:
            least -= 1
        return max(1, least)

    def _crop(self, request: gp.BatchRequest, mask: _Mask) -> Roi:
        """The roi, before it is moved, that must hold enough of a mask."""
        if mask.key in request and request[mask.key].roi is not None:
            return request[mask.key].roi
        rois = [spec.roi for spec in request.array_specs.values() if spec.roi is not None]
        shared = rois[0] if rois else request.get_total_roi()
        for roi in rois[1:]:
            shared = shared.intersect(roi)
        return shared.snap_to_grid(mask.reader.voxel_size, mode="grow")

    def _shifts(self, request: gp.BatchRequest) -> list[tuple[int | None, int | None]]:
        """The least and the largest shift along each axis that keep all requested rois within what is provided."""
        dims = self.spec[next(iter(self.masks))].voxel_size.dims
        limits: list[tuple[int | None, int | None]] = [(None, None)] * dims
        for key, spec in request.items():
            provided = self.upstream_spec[key].roi if key in self.upstream_spec else None
            if spec.roi is None or provided is None:
                continue
            for axis in range(dims):
                low, high = limits[axis]
                begin, length = provided.offset[axis], provided.shape[axis]
                if begin is None or length is None:
                    continue
                first, last = begin - spec.roi.begin[axis], begin + length - spec.roi.end[axis]
                limits[axis] = (first if low is None else max(low, first), last if high is None else min(high, last))
        return limits

    def _candidates(
        self, request: gp.BatchRequest, grid: Coordinate, shifts: Sequence[tuple[int | None, int | None]]
    ) -> list[tuple[_Mask, CropPositions]]:
        """The masks with the positions of a crop that they may allow; those without any are left out."""
        crops = [self._crop(request, mask) for mask in self._drawn]
        key = (tuple(str(crop) for crop in crops), tuple(grid), tuple(shifts))
        if key not in self._positions:
            self._positions = {key: []}  # requests hardly ever change, and this is large
            for mask, crop in zip(self._drawn, crops, strict=True):
                positions = self._make_positions(mask, crop, grid, shifts)
                if positions.count:
                    self._positions[key].append((mask, positions))
                else:
                    logger.warning(
                        "RandomLocationInMask: no crop of %s holds %g of %s", crop.shape, self.least_part, mask.name
                    )
        return self._positions[key]

    def _make_positions(
        self, mask: _Mask, crop: Roi, grid: Coordinate, shifts: Sequence[tuple[int | None, int | None]]
    ) -> CropPositions:
        steps = []
        size, origin = mask.reader.voxel_size, mask.reader.roi.begin
        for axis, (low, high) in enumerate(shifts):
            at, voxel, step = int(crop.begin[axis] - origin[axis]), int(size[axis]), int(grid[axis])
            # without a limit: wherever the crop touches the mask
            low = -at - int(crop.shape[axis]) if low is None else int(low)
            high = int(mask.reader.roi.shape[axis]) - at if high is None else int(high)
            low = -(-low // step) * step
            steps.append(Begins((at + low) // voxel, (at + high) // voxel + 1, step // voxel))
        crop_voxels = crop / size
        return CropPositions(mask.occupancy, tuple(map(int, crop_voxels.shape)), self._least(crop_voxels), steps)


def _move(request: gp.BatchRequest, shift: Coordinate) -> None:
    for _, spec in request.items():
        if spec.roi is not None:
            spec.roi = spec.roi.shift(shift)


def _weights(value: Any, name: str, kind: Any) -> dict[Any, float]:
    """Things with a positive weight each, all 1 where none are given. Raises ConfigError."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = dict.fromkeys(value, 1.0)
    if not isinstance(value, Mapping) or not value or not all(isinstance(item, kind) for item in value):
        allowed = "array keys" if kind is gp.ArrayKey else '"any", "each", or names of channels with their weights'
        raise ConfigError(
            f"{name} must be a list, or a table with a weight for each", found=quoted(value), allowed=allowed
        )
    weights = {item: float(fields.named(name, fields.to_number, weight)) for item, weight in value.items()}
    if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
        raise ConfigError(f"{name} have no valid weights", found=quoted(value), allowed="numbers from 0, not all 0")
    return {item: weight for item, weight in weights.items() if weight}
