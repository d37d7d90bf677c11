"""The nodes of array types: what ``node_of`` makes their classes from. Setup, requests and checks, written once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import ComputeError, GpArraysError, TreeError, quoted
from ..model.base import ArrayConfig, SourceConfig
from ..model.evaluate import owned, run_step
from ..model.meta import Axis, Block, Meta, Region, interpolatable
from ..model.plan import Step, compile_plan
from .axes import SAMPLE, Names, NamesAxes, axis_names
from .steps import Compiled, Steps, names_of, spec_of

#: More non-spatial axes than an array has, and more entries than an axis has that is asked for by index.
MOST_AXES, MOST_ENTRIES = 6, 1000


@attrs.frozen(eq=False, repr=False)
class Upstream(ArrayConfig):
    """Stands, in the config of a node, for an array that comes from upstream."""

    #: No array type of its own: a tree file cannot ask for it.
    abstract: ClassVar[bool] = True


def upstream(key: gp.ArrayKey) -> Upstream:
    """The config that stands for the array of a key."""
    if not isinstance(key, gp.ArrayKey):
        raise TreeError("a node reads from array keys", found=quoted(key), allowed="a gunpowder.ArrayKey")
    return Upstream(str(key))


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
        spec = self.spec[self.key].copy()
        spec.roi = roi
        batch[self.key] = gp.Array(owned(voxels), spec)
        timing.stop()
        batch.profiling_stats.add(timing)
        return batch


class FilterNode(NamesAxes, Steps):
    """Computes one array from others, as the rules of an array type say.

    It asks upstream for just the context that the requested region needs. In a
    hand-written pipeline, where rois may be unbounded and dtypes unknown, it asks for
    the full context and applies the dtype rule to each batch. Samples that ``gp.Stack``
    put in front are computed one by one.

    Args:
        sources: The keys to compute from, in the order of the config's sources.
        target: The key to provide.
        config: The array type's config, whose sources are made by ``upstream``.
        attributes: Attributes of the sources, as array keys carry none.
        axes: Names of the sources' non-spatial axes, where they are not known.
    """

    def __init__(
        self,
        sources: Sequence[gp.ArrayKey],
        target: gp.ArrayKey,
        config: ArrayConfig,
        attributes: Mapping[str, Any] | None = None,
        axes: tuple[str, ...] | None = None,
    ) -> None:
        upstream(target)  # refuses what is not a key
        self.keys = tuple(sources)
        self.target = target
        self.config = config
        self.attributes = dict(attributes or {})
        self.axes = axes
        self._completed: dict[Any, tuple[tuple[int, ...], Step]] = {}

    @classmethod
    def of_step(cls, compiled: Compiled, index: int) -> FilterNode:
        """The node of a step of a compiled tree."""
        node = cls.__new__(cls)
        Steps.__init__(node, compiled, [index], [index])
        node.config = compiled.plan.steps[index].config
        return node

    def path(self) -> tuple[str, ...]:
        return (self.config.name,)

    def setup(self) -> None:
        if self.compiled is not None:
            return super().setup()
        self.enable_autoskip()
        for key in self.keys:
            if key not in self.spec:
                provided = ", ".join(map(str, self.spec.array_specs)) if self.spec else "nothing"
                raise TreeError(f"{key} is not provided upstream", allowed=provided, path=self.path())
        specs = [self.spec[key] for key in self.keys]
        self.source_metas = [_meta_of(spec, self.attributes) for spec in specs]
        self._undeclared = [spec.interpolatable is None for spec in specs]
        try:
            self.announced = self.config.infer(*self.source_metas)
        except GpArraysError as error:
            raise error.at(*self.path()) from None
        spec = spec_of(self.announced, self.announced.roi)
        if spec.interpolatable and any(self._undeclared):
            # what no source declares is not declared here either: gunpowder's own nodes then take the nearest voxel
            spec.interpolatable = None
        if any(source.nonspatial for source in specs):
            spec = gp.ArraySpec(nonspatial=True, dtype=spec.dtype, interpolatable=spec.interpolatable)
        elif self.announced.roi is None:
            dims = self.announced.dims
            spec.roi = Roi((None,) * dims, (None,) * dims)
        if self.target in self.keys:
            self.updates(self.target, spec)
        else:
            self.provides(self.target, spec)
        return None

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        if self.compiled is not None:
            return super().prepare(request)
        dependencies = gp.BatchRequest()
        if self.target not in request:
            return dependencies
        if self.spec[self.target].nonspatial:
            for key in self.keys:
                dependencies[key] = gp.ArraySpec(nonspatial=True)
            return dependencies
        region = Region.of(request[self.target].roi)
        for key, part, meta in zip(self.keys, self._context(region), self.source_metas, strict=True):
            if region.empty:
                # gp.Pad asks so for what lies wholly outside; sources are asked for as little
                begin = region.begin if meta.roi is None else meta.region.begin
                part = Region(begin, begin)
            elif part is None:
                # no voxel of it is needed, but its samples and channels are
                part = region.snap([int(v) for v in meta.voxel_size], meta.origin)
                part = part if meta.roi is None else part.intersect(meta.region)
            roi = part.roi
            dependencies[key] = gp.ArraySpec(roi=dependencies[key].roi.union(roi) if key in dependencies else roi)
        return dependencies

    def _context(self, region: Region) -> Sequence[Region | None]:
        if region.empty:
            return [None] * len(self.keys)
        try:
            return self.config.context(region, self.announced, self.source_metas)
        except GpArraysError as error:
            raise error.at(*self.path()) from None

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch | None:
        if self.compiled is not None:
            return super().process(batch, request)
        if self.target not in request:
            return None
        arrays = [batch[key] for key in self.keys]
        nonspatial = self.spec[self.target].nonspatial
        roi = None if nonspatial else request[self.target].roi
        region = Region((), ()) if roi is None else Region.of(roi)
        parts = [region] * len(arrays) if nonspatial else self._context(region)
        dims = [0 if nonspatial else meta.dims for meta in self.source_metas]
        shapes = [array.data.shape[: array.data.ndim - d] for array, d in zip(arrays, dims, strict=True)]
        try:
            samples, step = self._complete(shapes, [array.data.dtype for array in arrays])
        except GpArraysError as error:
            raise error.at(*self.path()) from None
        results = [
            run_step(
                step,
                region,
                [
                    None if part is None else _block(array, sample, part, meta)
                    for array, part, meta in zip(arrays, parts, step.source_metas, strict=True)
                ],
                self.path,
            )
            for sample in np.ndindex(*samples)
        ]
        data = np.stack(results).reshape(*samples, *results[0].shape) if samples else results[0]
        spec = self.spec[self.target].copy()
        spec.roi, spec.dtype = roi, data.dtype
        outputs = gp.Batch()
        outputs[self.target] = gp.Array(owned(data, [array.data for array in batch.arrays.values()]), spec)
        return outputs

    def _complete(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> tuple[tuple[int, ...], Step]:
        """The numbers of samples, and the step of one sample, completed by what a batch shows of the sources."""
        shown = tuple(shapes), tuple(dtypes)
        if shown not in self._completed:
            names = [self._names(key, len(shape)) for key, shape in zip(self.keys, shapes, strict=True)]
            known = not any(None in each for each in names)
            counts = [_samples(each) if known else 0 for each in names]
            samples = {shape[:count] for shape, count in zip(shapes, counts, strict=True)}
            if len(samples) > 1:
                found = ", ".join(
                    f"{key} {shape[:count] or 'none'}"
                    for key, shape, count in zip(self.keys, shapes, counts, strict=True)
                )
                raise TreeError("sources of a node have equally many samples", found=found)
            try:
                step = self._step(shapes, dtypes, names, counts)
            except TreeError:
                if not any(counts):
                    raise
                # a type that is about samples, such as Select, takes them all at once
                samples, step = {()}, self._step(shapes, dtypes, names, [0] * len(counts))
            self._completed[shown] = samples.pop(), step
        return self._completed[shown]

    def _step(
        self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], names: Sequence[Names], skip: Sequence[int]
    ) -> Step:
        metas = tuple(
            attrs.evolve(
                meta,
                dtype=dtype,
                nonspatial=tuple(
                    Axis(name or f"a{i}", size) for i, (name, size) in enumerate(zip(each, shape, strict=True))
                )[n:],
                interpolatable=interpolatable(dtype) if undeclared and dtype is not None else meta.interpolatable,
            )
            for meta, undeclared, dtype, shape, each, n in zip(
                self.source_metas, self._undeclared, dtypes, shapes, names, skip, strict=True
            )
        )
        meta = self.config.infer(*metas)
        if meta.dtype not in (None, self.announced.dtype) and self.announced.dtype is not None:
            raise ComputeError(
                "the batch has another dtype than was announced", found=meta.dtype, allowed=self.announced.dtype
            )
        return Step(self.config, meta, source_metas=metas)

    def _names(self, key: gp.ArrayKey, count: int) -> Names:
        """The names of the non-spatial axes of a source."""
        if self.axes is not None and len(self.axes) == count:
            return self.axes
        names = axis_names(self.get_upstream_provider(), key, count)
        if None in names and not self.config.any_nonspatial_axes:
            raise TreeError(
                f"it is not known what the axes of {key} before the spatial ones mean",
                found=f"{count} axes" + ("" if self.axes is None else f", axes={self.axes!r}"),
                allowed='axes=("s", "c"), a name for each, or this node before gp.Unsqueeze and gp.Stack',
            )
        return names

    def axis_names(self, key: gp.ArrayKey, count: int) -> Names | None:
        if key != self.target:
            return None
        # a source of which just the names of so many axes are known has so many; of others any number may be
        options = [[n for n in range(MOST_AXES) if self._is_known(source, n)] or [0] for source in self.keys]
        for i in range(MOST_AXES):
            shapes = [(MOST_ENTRIES,) * option[min(i, len(option) - 1)] for option in options]
            try:
                samples, step = self._complete(shapes, [None] * len(shapes))
            except GpArraysError:
                continue
            names = (*(SAMPLE,) * len(samples), *(axis.name for axis in step.meta.nonspatial or ()))
            if len(names) == count:
                return names
        return (None,) * count

    def _is_known(self, key: gp.ArrayKey, count: int) -> bool:
        try:
            return None not in self._names(key, count)
        except TreeError:
            return False


def _samples(names: Names) -> int:
    """The number of leading axes of samples."""
    return next((i for i, name in enumerate(names) if name != SAMPLE), len(names))


def _block(array: gp.Array, sample: tuple[int, ...], part: Region, meta: Meta) -> Block:
    """The voxels of a part of one sample of an array."""
    if not meta.dims:
        return Block(array.data[sample], part, meta)
    view = Block(array.data[sample], Region.of(array.spec.roi), meta).crop(part.whole()).view()
    view.flags.writeable = False
    return Block(view, part.whole(), meta)


def _meta_of(spec: gp.ArraySpec, attributes: Mapping[str, Any]) -> Meta:
    """What a gunpowder spec, and attributes told beside it, say of an array from somewhere upstream."""
    unknown = spec.roi is None or spec.roi.unbounded or None in spec.roi.offset
    if spec.nonspatial:
        voxel_size = Coordinate(())
    elif spec.voxel_size is not None:
        voxel_size = spec.voxel_size
    else:
        dims = spec.roi.dims if spec.roi is not None else 3
        voxel_size = Coordinate((1,) * dims)
    return Meta(
        roi=None if unknown else spec.roi,
        voxel_size=voxel_size,
        spatial_axes=tuple("zyx"[-len(voxel_size) :])
        if 0 < len(voxel_size) <= 3
        else tuple(f"d{i}" for i in range(len(voxel_size))),
        dtype=spec.dtype,
        nonspatial=None,
        interpolatable=_may_interpolate(spec),
        attrs=attributes,
    )


def _may_interpolate(spec: gp.ArraySpec) -> bool:
    """What a spec says of it, else the rule by dtype; of an unknown dtype a batch tells."""
    if spec.interpolatable is not None:
        return bool(spec.interpolatable)
    return spec.dtype is None or interpolatable(np.dtype(spec.dtype))
