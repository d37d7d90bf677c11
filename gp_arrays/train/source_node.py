"""The nodes of sources."""

from __future__ import annotations

import functools

import gunpowder as gp
from funlib.geometry import Coordinate

from ..errors import TreeError
from ..model.base import ArrayConfig, SourceConfig
from ..model.evaluate import owned, run_step
from ..model.plan import Step, compile_plan
from .axes import Names, NamesAxes
from .steps import Compiled, add_array, names_of
from .upstream import upstream


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
                "gunpowder wants offsets on the voxel grid",
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
