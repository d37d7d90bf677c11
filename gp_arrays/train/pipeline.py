"""Pipeline: a plan as gunpowder nodes, one linear chain after a merge of all sources."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence

import gunpowder as gp
from funlib.geometry import Coordinate

from ..errors import TreeError
from ..model.base import ArrayConfig
from ..model.evaluate import evaluate
from ..model.meta import Region
from ..model.plan import Plan, compile_plan
from ..model.tasks import make_tasks
from .nodes import ArrayNode, SourceNode, spec_of

logger = logging.getLogger(__name__)

#: Beyond that many nodes a chain is one node: gunpowder's cost grows with the square of its length.
LONGEST_CHAIN = 100


def compile_pipeline(arrays: Mapping[gp.ArrayKey, ArrayConfig], unit: str | None = None) -> gp.Pipeline:
    """A gunpowder pipeline that provides the arrays of a tree.

    The pipeline provides the given keys and nothing else; equal subtrees are computed
    once. Sources whose begin is off their voxel grid are shifted as a whole onto it, as
    gunpowder demands; the pipeline's ``shift`` says by how much (world = pipeline + shift).

    Args:
        arrays: For each key the array that it provides.
        unit: The unit of the tree; by default what its file says, else nm.

    Raises:
        TreeError, StoreError: As ``compile_plan``; TreeError also where sources are
            off their grids by different phases.

    >>> import gunpowder as gp, numpy as np
    >>> import gp_arrays as gpa
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.arange(12, dtype=np.uint8).reshape(3, 4), voxel_size=(8, 8))
    >>> RAW, HIGH = gp.ArrayKey("RAW"), gp.ArrayKey("HIGH")
    >>> pipeline = gpa.compile_pipeline({RAW: raw, HIGH: gpa.ThresholdArrayConfig("high", raw, threshold=5)})
    >>> request = gp.BatchRequest()
    >>> request.add(RAW, (24, 32))  # world units
    >>> request.add(HIGH, (8, 32))
    >>> with gp.build(pipeline):
    ...     batch = pipeline.request_batch(request)
    >>> batch[RAW].data.shape, batch[HIGH].data
    ((3, 4), array([[0, 0, 1, 1]], dtype=uint8))
    """
    if not isinstance(arrays, Mapping):
        raise TreeError("not array configs by key", found=repr(arrays))
    for key in arrays:
        if not isinstance(key, gp.ArrayKey):
            raise TreeError("a pipeline provides array keys", found=repr(key), allowed="a gunpowder.ArrayKey")
    if not arrays:
        raise TreeError("no array to provide")
    plan = compile_plan({str(key): config for key, config in arrays.items()}, unit)
    outputs = {key: plan.outputs[str(key)] for key in arrays}
    shift = common_shift(plan)
    if any(shift):
        logger.info("voxel grids begin off the origin: pipeline coordinates are world - %s", shift)
    if len(plan.steps) > LONGEST_CHAIN:
        pipeline = gp.Pipeline(TreeNode(plan, outputs, shift))
    else:
        pipeline = _chain(plan, outputs, shift)
    pipeline.shift = shift
    return pipeline


def _chain(plan: Plan, outputs: Mapping[gp.ArrayKey, int], shift: Coordinate) -> gp.Pipeline:
    keys = [gp.ArrayKey(step.key) for step in plan.steps]
    sources = tuple(
        SourceNode.of_step(keys[i], plan, i, shift) for i, step in enumerate(plan.steps) if step.opened is not None
    )
    pipeline = sources + gp.MergeProvider() if len(sources) > 1 else gp.Pipeline(sources[0])
    for i, step in enumerate(plan.steps):
        if step.opened is None:
            read, compiled = [keys[s] for s in step.sources], (step.meta, plan.metas(step))
            pipeline += ArrayNode(read, keys[i], step.config, compiled, shift=shift, path=plan.path(i))
    return pipeline + Outputs(plan, {key: (index, keys[index]) for key, index in outputs.items()}, shift)


class Outputs(gp.BatchProvider):  # type: ignore[misc]
    """Ends a compiled chain: hides its inner keys and splits requests for regions far apart."""

    def __init__(self, plan: Plan, outputs: Mapping[gp.ArrayKey, tuple[int, gp.ArrayKey]], shift: Coordinate) -> None:
        self.plan = plan
        self.outputs = dict(outputs)
        self.shift = shift

    def setup(self) -> None:
        for key, (index, _) in self.outputs.items():
            meta = self.plan.steps[index].meta
            self.provides(key, spec_of(meta, meta.region.roi.shift(-self.shift)))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        (provider,) = self.get_upstream_providers()
        batch = gp.Batch()
        for group in self._groups(request):
            seed = random.randint(0, 2**32 - 1) if request.is_deterministic() else None
            part = gp.BatchRequest(random_seed=seed)
            for key in group:
                inner = self.outputs[key][1]
                spec = gp.ArraySpec(roi=request[key].roi)
                if inner in part:
                    spec.roi = part[inner].roi.union(spec.roi)
                part[inner] = spec
            made = provider.request_batch(part)
            for i, key in enumerate(group):
                inner = self.outputs[key][1]
                earlier = any(self.outputs[other][1] == inner for other in group[:i])
                array = made[inner].crop(request[key].roi, copy=earlier)
                batch[key] = gp.Array(array.data, array.spec)
            batch.profiling_stats.merge_with(made.profiling_stats)
        return batch

    def _groups(self, request: gp.BatchRequest) -> list[list[gp.ArrayKey]]:
        """Keys to be asked for together: those whose needs lie near each other."""
        groups: list[list[gp.ArrayKey]] = []
        for key, _ in request.items():
            for group in groups:
                if not self._far_apart([*group, key], request):
                    group.append(key)
                    break
            else:
                groups.append([key])
        return groups

    def _far_apart(self, keys: Sequence[gp.ArrayKey], request: gp.BatchRequest) -> bool:
        wanted = [(self.outputs[key][0], Region.of(request[key].roi.shift(self.shift))) for key in keys]
        return any(len(regions) > 1 for regions in make_tasks(self.plan, wanted).regions().values())


class TreeNode(gp.BatchProvider):  # type: ignore[misc]
    """A whole tree in one node, evaluated directly: what a chain too long for gunpowder becomes."""

    def __init__(self, plan: Plan, outputs: Mapping[gp.ArrayKey, int], shift: Coordinate) -> None:
        self.plan = plan
        self.outputs = dict(outputs)
        self.shift = shift

    def setup(self) -> None:
        for key, index in self.outputs.items():
            meta = self.plan.steps[index].meta
            self.provides(key, spec_of(meta, meta.region.roi.shift(-self.shift)))

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        timing = gp.profiling.Timing(self)
        timing.start()
        batch = gp.Batch()
        rois = {key: spec.roi for key, spec in request.items()}
        wanted = [(self.outputs[key], Region.of(roi.shift(self.shift))) for key, roi in rois.items()]
        for (key, roi), voxels in zip(rois.items(), evaluate(self.plan, wanted), strict=True):
            spec = self.spec[key].copy()
            spec.roi = roi
            batch[key] = gp.Array(voxels, spec)
        timing.stop()
        batch.profiling_stats.add(timing)
        return batch


def common_shift(plan: Plan) -> Coordinate:
    """The smallest shift that puts every array of a plan on its voxel grid.

    Raises TreeError where there is none, naming two arrays that do not agree.
    """
    dims = plan.steps[0].meta.dims
    if any(step.meta.dims != dims for step in plan.steps):
        found = ", ".join(f"{step.config.name}: {step.meta.dims}" for step in plan.steps)
        raise TreeError("one pipeline has one number of spatial axes", found=found)
    shift = []
    for axis in range(dims):
        origin, grid = 0, 1
        for step in plan.steps:
            voxel, own = int(step.meta.voxel_size[axis]), step.meta.origin[axis]
            if (own - origin) % math.gcd(grid, voxel):
                raise _different_phases(plan, axis, step.config.name)
            # the Chinese remainder theorem, for moduli that may share factors
            while (origin - own) % voxel:
                origin += grid
            grid = math.lcm(grid, voxel)
            origin %= grid
        shift.append(origin)
    return Coordinate(shift)


def _different_phases(plan: Plan, axis: int, name: str) -> TreeError:
    second = next(step for step in plan.steps if step.config.name == name)
    a, b = int(second.meta.voxel_size[axis]), second.meta.origin[axis]
    first = next(
        step for step in plan.steps if (step.meta.origin[axis] - b) % math.gcd(int(step.meta.voxel_size[axis]), a)
    )
    return TreeError(
        "voxel grids are off the origin by different phases, which gunpowder cannot serve",
        found=", ".join(
            f"{step.config.name} begins at {step.meta.region.roi.begin}, voxel size {step.meta.voxel_size}"
            for step in (first, second)
        ),
        allowed="`offset=` overrides where a source begins",
        path=(first.config.name,),
    )
