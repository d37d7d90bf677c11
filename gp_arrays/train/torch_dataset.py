"""Datasets of torch: random samples of a pipeline or a tree, and the tiles of a grid."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import ComputeError, ConfigError, RequestError, quoted
from ..model import fields
from ..model.config import Config
from ..model.evaluate import evaluate
from ..model.meta import Meta, Region, Voxels
from ..model.plan import Plan, compile_plan
from ..model.rois import to_block, to_bounded_roi
from .network import require_torch
from .pipeline import compile_pipeline
from .random_state import keeping_random_states

if TYPE_CHECKING:

    class _Iterable: ...

    class _MapStyle: ...
else:
    try:
        from torch.utils.data import Dataset as _MapStyle
        from torch.utils.data import IterableDataset as _Iterable
    except ImportError:
        # the names exist without torch; making a dataset then raises an error that says what to install
        _Iterable = _MapStyle = object

#: Torch computes little with these, so that they become what holds their values.
_SIGNED = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}


def to_tensor(data: Voxels, name: str) -> Any:
    """A contiguous tensor of its own memory. Unsigned integers above 8 bits become signed ones.

    Raises ComputeError for an id that no signed integer of 64 bits holds.
    """
    signed = _SIGNED.get(data.dtype.name)
    if data.dtype == np.uint64 and data.size and int(data.max()) >= 2**63:
        raise ComputeError(
            "torch has no integers beyond 2^63 - 1",
            found=int(data.max()),
            allowed="RelabelArrayConfig with a dense table",
            path=(name,),
        )
    copied = np.array(data, data.dtype.newbyteorder("=") if signed is None else signed, order="C", copy=True)
    return require_torch().from_numpy(copied)


class TorchDataset(_Iterable):
    """An ``IterableDataset`` of random samples: dictionaries of contiguous tensors, ready to be collated.

    Sample ``i`` is decided by ``seed``, the epoch and ``i`` alone: workers of a DataLoader, forked or spawned,
    and the processes of a distributed training share the samples, each taking its part, and any number of
    them gives the same ones. Nodes such as ``gp.PreCache``, which compute in processes of
    their own, do not follow the seed: the workers of a DataLoader do their work.

    Args:
        source: A gunpowder pipeline; or a function without arguments that makes one, in each worker; or
            array configs by name.
        sizes: The size of each array in world units, by array key, or by name for array configs. All
            are centered on one point. Or a ``gunpowder.BatchRequest``.
        seed: Decides all samples.
        length: How many samples an epoch has, over all processes; by default it never ends. If ranks wait
            for each other, make it a multiple of ``num_ranks``: no sample is left out or repeated.
        rank: The number of this process among those of a distributed training; by default
            what ``torch.distributed`` says, else 0.
        num_ranks: How many such processes there are.
        nodes: For array configs: a function of the array keys by name that returns a list of gunpowder nodes,
            the random location and what follows it. By default crops are taken anywhere and stay as they are.

    A sample's entries are named as the array keys. uint16, uint32 and uint64 become int32 and int64, as
    torch computes little with the former; an id beyond 2^63 - 1 is an error.

    Examples:
        ``DataLoader(gpa.TorchDataset({"raw": raw, "masks": masks}, {"raw": (640,) * 3, "masks": (320,) * 3}),
        batch_size=4, num_workers=4)``
    """

    def __init__(
        self,
        source: Any,
        sizes: Any,
        seed: int = 0,
        length: int | None = None,
        rank: int | None = None,
        num_ranks: int | None = None,
        nodes: Callable[[Mapping[str, gp.ArrayKey]], Sequence[gp.BatchFilter]] | None = None,
    ) -> None:
        torch = require_torch()
        self.source, self.nodes = source, nodes
        if isinstance(source, Mapping):
            _require_same_names(source, sizes)
            sizes = {gp.ArrayKey(name): size for name, size in sizes.items()}
        elif nodes is not None:
            raise ConfigError("nodes can only be used with array configs", found=type(source).__name__)
        elif not (isinstance(source, (gp.Pipeline, gp.BatchProvider)) or callable(source)):
            raise ConfigError(
                "source is neither a pipeline nor array configs",
                found=quoted(source),
                allowed="a pipeline, a function that makes one, or configs by name",
            )
        self.request = sizes if isinstance(sizes, gp.BatchRequest) else _request(sizes)
        self.seed = fields.named("seed", fields.to_integer, seed)
        self.length = None if length is None else fields.named("length", fields.to_integer, length)
        if self.length is not None and self.length < 0:
            raise ConfigError("length is negative", found=self.length, allowed="at least 0")
        distributed = torch.distributed
        initialized = distributed.is_available() and distributed.is_initialized()
        self.rank = int(rank if rank is not None else distributed.get_rank() if initialized else 0)
        self.num_ranks = int(num_ranks if num_ranks is not None else distributed.get_world_size() if initialized else 1)
        if not 0 <= self.rank < self.num_ranks:
            raise ConfigError(
                "rank is not below num_ranks", found=self.rank, allowed=f"0 to {self.num_ranks - 1}, below num_ranks"
            )
        # shared with the workers, those that live longer than an epoch too
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Iterate over other samples from the next time on. Each iteration of one epoch gives the same samples."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = require_torch().utils.data.get_worker_info()
        workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        first, step = self.rank + self.num_ranks * number, self.num_ranks * workers
        numbers = itertools.count(first, step) if self.length is None else range(first, self.length, step)
        epoch, pipeline = int(self._epoch[0]), self._pipeline()
        with contextlib.ExitStack() as built:
            with keeping_random_states():
                built.enter_context(gp.build(pipeline))
            # in a spawned process keys of one name may differ by their hashes: these are the pipeline's own
            keys = {str(key): key for key, _ in pipeline.spec.items()}
            unknown = [str(key) for key, _ in self.request.items() if str(key) not in keys]
            if unknown:
                raise ConfigError(
                    "sizes names arrays that the pipeline does not provide", ", ".join(unknown), ", ".join(keys)
                )
            for index in numbers:
                digest = hashlib.sha256(f"{self.seed} {epoch} {index}".encode()).digest()
                request = gp.BatchRequest(random_seed=int.from_bytes(digest[:4], "little"))
                for key, spec in self.request.items():
                    request[keys[str(key)]] = spec.copy()
                yield _sample(pipeline, request)

    def _pipeline(self) -> Any:
        if not isinstance(self.source, Mapping):
            is_pipeline = isinstance(self.source, (gp.Pipeline, gp.BatchProvider))
            return self.source if is_pipeline else self.source()
        keys = {name: gp.ArrayKey(name) for name in self.source}
        pipeline = compile_pipeline({keys[name]: config for name, config in self.source.items()}, shift="auto")
        for node in [gp.RandomLocation()] if self.nodes is None else self.nodes(keys):
            pipeline += node
        return pipeline


def _sample(pipeline: Any, request: gp.BatchRequest) -> dict[str, Any]:
    """The tensors of a request, which has a seed; the random states of the process stay as they are."""
    with keeping_random_states():
        batch = pipeline.request_batch(request)
    return {str(key): to_tensor(batch[key].data, str(key)) for key in request.array_specs}


def _require_same_names(configs: Mapping[str, Any], sizes: Any) -> None:
    for name, config in configs.items():
        if not isinstance(name, str) or not isinstance(config, Config):
            raise ConfigError("source must be array configs by name", found=f"{name!r}: {config!r}")
    if not isinstance(sizes, Mapping) or set(sizes) != set(configs):
        names = ", ".join(map(str, sizes)) if isinstance(sizes, Mapping) else quoted(sizes)
        raise ConfigError("sizes must have one size for each array", found=names, allowed=", ".join(configs))


def _request(sizes: Any) -> gp.BatchRequest:
    if not isinstance(sizes, Mapping) or not sizes or not all(isinstance(key, gp.ArrayKey) for key in sizes):
        raise ConfigError(
            "sizes are not sizes by array key", found=quoted(sizes), allowed="such as {RAW: (640, 640, 640)}"
        )
    request = gp.BatchRequest()
    for key, size in sizes.items():
        request.add(key, Coordinate(size))
    return request


class TorchGridDataset(_MapStyle):
    """A map-style dataset of the tiles that cover an area, for validation: dictionaries of contiguous tensors.

    All tiles have one size, so that they can be collated; the last of an axis is moved inward. Each
    array is given around the middle of the tile, as large as ``sizes`` says. Entry ``"begin"`` is where
    the tile begins, in world units.

    Args:
        configs: Array configs by name, of one tree.
        sizes: The size of each array in world units, by name. The smallest are the tiles.
        stride: From one tile to the next, in world units; by default the tiles' size.
        roi: What is covered, in world units; by default all that the arrays can give, in whole voxels of each.
        unit: The unit of the tree.

    Tensors have the dtypes that TorchDataset says.

    Examples:
        ``DataLoader(gpa.TorchGridDataset({"raw": raw, "masks": masks}, {"raw": (640,) * 3, "masks": (320,) * 3}))``
    """

    def __init__(self, configs: Any, sizes: Any, stride: Any = None, roi: Any = None, unit: str | None = None) -> None:
        require_torch()
        _require_same_names(configs, sizes)
        self.plan: Plan = compile_plan(configs, unit)
        metas = {name: self.plan.steps[index].meta for name, index in self.plan.outputs.items()}
        self.sizes = {name: Coordinate(size) for name, size in sizes.items()}
        for name, meta in metas.items():
            size = self.sizes[name]
            if len(size) != meta.dims or any(n <= 0 or n % v for n, v in zip(size, meta.voxel_size, strict=True)):
                allowed = f"whole voxels of {meta.voxel_size} along {', '.join(meta.spatial_axes)}"
                raise RequestError("size is not whole voxels of the array", found=size, allowed=allowed, path=(name,))
        shapes = list(self.sizes.values())
        self.size = Coordinate(min(lengths) for lengths in zip(*shapes, strict=True))
        self.margins = {name: (size - self.size) / 2 for name, size in self.sizes.items()}
        covered = None
        for name, meta in metas.items():
            extent = meta.region.roi.grow(-self.margins[name], -self.margins[name])
            covered = extent if covered is None else covered.intersect(extent)
        assert covered is not None
        if roi is None and not covered.empty:
            covered = self._shrunk(covered, metas)
        if covered.empty:
            sizes_text = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
            allowed = ", ".join(f"{name} {meta.region}" for name, meta in metas.items())
            raise RequestError("no tile lies within all arrays", found=sizes_text, allowed=f"less than {allowed}")
        area = covered if roi is None else to_bounded_roi(roi, self.plan.unit)
        if not covered.contains(area) or any(w < s for w, s in zip(area.shape, self.size, strict=True)):
            raise RequestError(
                "the arrays do not hold whole tiles in this roi",
                found=area,
                allowed=f"{covered}, tiles of {self.size}",
            )
        steps = self.size if stride is None else Coordinate(to_block(stride, self.plan.unit))
        starts = []
        for begin, length, tile, step in zip(area.begin, area.shape, self.size, steps, strict=True):
            last = begin + length - tile
            starts.append([*range(int(begin), int(last), int(step)), int(last)])
        self.begins = list(itertools.product(*starts))
        for name, meta in metas.items():
            for begin in itertools.product(*({s[0], s[min(1, len(s) - 1)], s[-1]} for s in starts)):
                region = self._region(name, begin)
                if not meta.on_grid(region):
                    raise RequestError(
                        "tiles do not lie on the voxel grid",
                        found=f"{region} of {name}",
                        allowed=f"multiples of {meta.voxel_size}",
                        path=(name,),
                    )

    def _shrunk(self, roi: Roi, metas: Mapping[str, Meta]) -> Roi:
        """The largest part of a roi that consists of whole voxels of each array, given as far around it as it is."""
        region, before = Region.of(roi), None
        while region != before and not region.empty:
            before = region
            for name, meta in metas.items():
                region = region.shrink(meta.voxel_size, Coordinate(meta.origin) + self.margins[name])
        return region.roi

    def _region(self, name: str, begin: Sequence[int]) -> Region:
        return Region.of(Roi(Coordinate(begin) - self.margins[name], self.sizes[name]))

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, index: int) -> dict[str, Any]:
        begin = self.begins[index]
        requests = [(step, self._region(name, begin)) for name, step in self.plan.outputs.items()]
        voxels = dict(zip(self.plan.outputs, evaluate(self.plan, requests), strict=True))
        tensors = {name: to_tensor(data, name) for name, data in voxels.items()}
        return {**tensors, "begin": require_torch().tensor(begin, dtype=require_torch().int64)}
