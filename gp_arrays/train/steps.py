"""Nodes of a compiled tree: they read and compute steps of its plan as ``array[roi]`` does."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Mapping, Sequence

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import TreeError
from ..model.base import ArrayConfig, SourceConfig
from ..model.evaluate import Tasks, make_tasks, owned, run, run_step
from ..model.meta import Block, Meta, Region, Voxels
from ..model.plan import Plan, Step, compile_plan
from .upstream import Names, NamesAxes, upstream


def spec_of(meta: Meta, roi: Roi | None) -> gp.ArraySpec:
    """The gunpowder spec of an array."""
    return gp.ArraySpec(
        roi=None if roi is None else roi.copy(),
        voxel_size=meta.voxel_size,
        interpolatable=meta.interpolatable,
        dtype=meta.dtype,
    )


def add_array(batch: gp.Batch, key: gp.ArrayKey, spec: gp.ArraySpec, roi: Roi | None, voxels: Voxels) -> gp.Batch:
    """Add the voxels of a roi to a batch, with a spec like the one that a node provides. Returns the batch."""
    array_spec = copy.copy(spec)  # gp.Array takes a deep copy of it
    array_spec.roi, array_spec.dtype = roi, voxels.dtype
    batch[key] = gp.Array(voxels, array_spec)
    return batch


def names_of(meta: Meta, count: int) -> Names:
    """The names of the non-spatial axes of an array, if there are ``count`` of them."""
    names = tuple(axis.name for axis in meta.nonspatial or ())
    return names if len(names) == count else (None,) * count


@attrs.frozen(eq=False)
class Compiled:
    """A compiled tree as a pipeline has it.

    Attributes:
        plan: The plan of the tree.
        keys: The keys that pass each step from node to node.
        shift: World coordinates are those of the pipeline plus this.
    """

    plan: Plan
    keys: Sequence[gp.ArrayKey]
    shift: Coordinate

    def spec(self, index: int) -> gp.ArraySpec:
        """The gunpowder spec of a step."""
        meta = self.plan.steps[index].meta
        return spec_of(meta, meta.region.roi.shift(-self.shift))

    def world(self, roi: Roi) -> Region:
        """A roi of the pipeline, in world coordinates."""
        return Region.of(roi.shift(self.shift))


class SourceNode(NamesAxes, gp.BatchProvider):  # type: ignore[misc]
    """Provides the voxels of a source.

    Args:
        key: The key to provide.
        config: What to read.
    """

    def __init__(self, key: gp.ArrayKey, config: SourceConfig) -> None:
        upstream(key)  # refuses what is not a key
        self.key, self.index = key, 0
        self.config: ArrayConfig = config
        self.compiled: Compiled | None = None

    @classmethod
    def of_step(cls, compiled: Compiled, index: int) -> SourceNode:
        """The node of a source of a compiled tree."""
        node = cls.__new__(cls)
        node.key, node.config = compiled.keys[index], compiled.plan.steps[index].config
        node.compiled, node.index = compiled, index
        return node

    def setup(self) -> None:
        if self.compiled is None:
            plan = compile_plan({str(self.key): self.config})
            self.compiled = Compiled(plan, [self.key], Coordinate((0,) * plan.steps[0].meta.dims))
        spec = self.compiled.spec(self.index)
        if any(b % v for b, v in zip(spec.roi.begin, spec.voxel_size, strict=True)):
            raise TreeError(
                "gunpowder needs offsets that are multiples of the voxel size",
                found=f"offset {spec.roi.begin}, voxel size {spec.voxel_size}",
                allowed="`offset=` in whole voxels, or compile_pipeline with `shift=`",
                path=(self.config.name,),
            )
        self.provides(self.key, spec)

    @property
    def step(self) -> Step:
        assert self.compiled is not None
        return self.compiled.plan.steps[self.index]

    def axis_names(self, key: gp.ArrayKey, count: int) -> Names | None:
        return names_of(self.step.meta, count)

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        assert self.compiled is not None
        batch = gp.Batch()
        if self.key not in request:
            # asked for by a type that reads no voxel of it
            return batch
        timing = gp.profiling.Timing(self)
        timing.start()
        roi = request[self.key].roi
        path = functools.partial(self.compiled.plan.path, self.index)
        voxels = run_step(self.step, self.compiled.world(roi), (), path)
        add_array(batch, self.key, self.spec[self.key], roi, owned(voxels))
        timing.stop()
        batch.profiling_stats.add(timing)
        return batch


class Steps(gp.BatchFilter):  # type: ignore[misc]
    """Computes steps of a compiled tree. One array of a short tree is one node of its own type.

    The cost of a chain of nodes grows with the square of its length, so that the nodes of a long
    tree hold several steps each.

    Args:
        compiled: The compiled tree.
        indices: The steps that the node computes, sources first.
        targets: Those of them that it provides.
    """

    compiled: Compiled | None = None

    def __init__(self, compiled: Compiled, indices: Sequence[int], targets: Sequence[int]) -> None:
        self.compiled, self.indices, self.targets = compiled, tuple(indices), tuple(targets)
        steps = compiled.plan.steps
        self.sources = sorted({source for i in indices for source in steps[i].sources} - set(indices))
        self._tasks: Tasks | None = None

    def setup(self) -> None:
        assert self.compiled is not None
        self.enable_autoskip()
        for index in self.targets:
            self.provides(self.compiled.keys[index], self.compiled.spec(index))

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        assert self.compiled is not None
        keys, world = self.compiled.keys, self.compiled.world
        requests = [(i, world(request[keys[i]].roi)) for i in self.targets if keys[i] in request]
        self._tasks = make_tasks(self.compiled.plan, requests, self.sources)
        regions = self._tasks.regions()
        dependencies = gp.BatchRequest()
        for index in self.sources:
            if index in regions:
                region = functools.reduce(Region.union, regions[index])
                dependencies[keys[index]] = gp.ArraySpec(roi=region.roi.shift(-self.compiled.shift))
        return dependencies

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch | None:
        assert self.compiled is not None
        assert self._tasks is not None
        keys, steps = self.compiled.keys, self.compiled.plan.steps
        provided: dict[int, Block] = {}
        for index in self.sources:
            if keys[index] in batch:
                array = batch[keys[index]]
                voxels = array.data.view()
                voxels.flags.writeable = False
                provided[index] = Block(voxels, self.compiled.world(array.spec.roi), steps[index].meta)
        results = iter(run(self._tasks, provided))
        self._tasks = None
        others = [array.data for array in batch.arrays.values()]
        outputs = gp.Batch()
        for index in self.targets:
            key = keys[index]
            if key in request:
                add_array(outputs, key, self.spec[key], request[key].roi, owned(next(results), others))
        return outputs


class Outputs(NamesAxes, gp.BatchProvider):  # type: ignore[misc]
    """Ends a compiled tree: hides the keys between its nodes and splits requests for regions that are far apart.

    Args:
        compiled: The compiled tree.
        outputs: The steps that it provides, by the user's keys.
    """

    def __init__(self, compiled: Compiled, outputs: Mapping[gp.ArrayKey, int]) -> None:
        self.compiled = compiled
        self.outputs = dict(outputs)

    def setup(self) -> None:
        for key, index in self.outputs.items():
            self.provides(key, self.compiled.spec(index))

    def axis_names(self, key: gp.ArrayKey, count: int) -> Names | None:
        return names_of(self.compiled.plan.steps[self.outputs[key]].meta, count)

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        (provider,) = self.get_upstream_providers()
        batch = gp.Batch()
        regions = {key: self.compiled.world(spec.roi) for key, spec in request.items()}
        for key, region in regions.items():
            if region.empty:
                # gp.Pad asks so for what lies wholly outside
                meta = self.compiled.plan.steps[self.outputs[key]].meta
                add_array(batch, key, self.spec[key], request[key].roi, np.zeros(meta.shape_of(region), meta.dtype))
        for group in self._groups({key: region for key, region in regions.items() if not region.empty}):
            seed = random.randint(0, 2**32 - 1) if request.is_deterministic() else None
            inner = gp.BatchRequest(random_seed=seed)
            for key in group:
                roi, passed = request[key].roi, self._passed(key)
                inner[passed] = gp.ArraySpec(roi=inner[passed].roi.union(roi) if passed in inner else roi)
            answer = provider.request_batch(inner)
            for i, key in enumerate(group):
                shared = any(self._passed(other) == self._passed(key) for other in group[:i])
                array = answer[self._passed(key)].crop(request[key].roi, copy=shared)
                add_array(batch, key, self.spec[key], request[key].roi, array.data)
            batch.profiling_stats.merge_with(answer.profiling_stats)
        return batch

    def _passed(self, key: gp.ArrayKey) -> gp.ArrayKey:
        return self.compiled.keys[self.outputs[key]]

    def _groups(self, regions: Mapping[gp.ArrayKey, Region]) -> list[list[gp.ArrayKey]]:
        """Keys to be asked for together: those whose needs lie near each other."""
        groups: list[list[gp.ArrayKey]] = []
        if len(regions) < 2 or not self._far_apart(regions):
            return [list(regions)] if regions else []
        for key in regions:
            for group in groups:
                if not self._far_apart({other: regions[other] for other in [*group, key]}):
                    group.append(key)
                    break
            else:
                groups.append([key])
        return groups

    def _far_apart(self, regions: Mapping[gp.ArrayKey, Region]) -> bool:
        tasks = make_tasks(self.compiled.plan, [(self.outputs[key], region) for key, region in regions.items()])
        return any(len(parts) > 1 for parts in tasks.regions().values())
