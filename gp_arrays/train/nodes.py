"""The nodes of computed array types: setup, requests and checks, written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Roi

from ..errors import ComputeError, GpArraysError, TreeError, errors_at
from ..model.base import ArrayConfig
from ..model.evaluate import owned, run_step
from ..model.meta import Axis, Region, interpolatable
from ..model.plan import Step
from .steps import Compiled, Steps, add_array, spec_of
from .upstream import SAMPLE, Names, NamesAxes, axis_names, block_of, meta_of, upstream

#: More non-spatial axes than an array has, and more entries than an axis has that is asked for by index.
MOST_AXES, MOST_ENTRIES = 6, 1000


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
        self.source_metas = [meta_of(spec, self.attributes) for spec in specs]
        self._undeclared = [spec.interpolatable is None for spec in specs]
        with errors_at(*self.path()):
            self.announced = self.config.infer(*self.source_metas)
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
                part = meta.clip(region.snap([int(v) for v in meta.voxel_size], meta.origin))
            roi = part.roi
            dependencies[key] = gp.ArraySpec(roi=dependencies[key].roi.union(roi) if key in dependencies else roi)
        return dependencies

    def _context(self, region: Region) -> Sequence[Region | None]:
        if region.empty:
            return [None] * len(self.keys)
        with errors_at(*self.path()):
            return self.config.context(region, self.announced, self.source_metas)

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
        with errors_at(*self.path()):
            samples, step = self._complete(shapes, [array.data.dtype for array in arrays])
        results = [
            run_step(
                step,
                region,
                [
                    None if part is None else block_of(array, sample, part, meta)
                    for array, part, meta in zip(arrays, parts, step.source_metas, strict=True)
                ],
                self.path,
            )
            for sample in np.ndindex(*samples)
        ]
        data = np.stack(results).reshape(*samples, *results[0].shape) if samples else results[0]
        data = owned(data, [array.data for array in batch.arrays.values()])
        return add_array(gp.Batch(), self.target, self.spec[self.target], roi, data)

    def _complete(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> tuple[tuple[int, ...], Step]:
        """The numbers of samples, and the step of one sample, completed by the shapes and dtypes of the sources in a batch."""
        seen = tuple(shapes), tuple(dtypes)
        if seen not in self._completed:
            names = [self._names(key, len(shape)) for key, shape in zip(self.keys, shapes, strict=True)]
            known = not any(None in axes for axes in names)
            counts = [_samples(axes) if known else 0 for axes in names]
            samples = {shape[:count] for shape, count in zip(shapes, counts, strict=True)}
            if len(samples) > 1:
                by_key = ", ".join(
                    f"{key} {shape[:count] or 'none'}"
                    for key, shape, count in zip(self.keys, shapes, counts, strict=True)
                )
                raise TreeError("the sources of a node have different numbers of samples", found=by_key)
            try:
                step = self._step(shapes, dtypes, names, counts)
            except TreeError:
                if not any(counts):
                    raise
                # a type that is about samples, such as Select, takes them all at once
                samples, step = {()}, self._step(shapes, dtypes, names, [0] * len(counts))
            self._completed[seen] = samples.pop(), step
        return self._completed[seen]

    def _step(
        self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], names: Sequence[Names], skip: Sequence[int]
    ) -> Step:
        metas = tuple(
            attrs.evolve(
                meta,
                dtype=dtype,
                nonspatial=tuple(
                    Axis(name or f"a{i}", size) for i, (name, size) in enumerate(zip(axes, shape, strict=True))
                )[n:],
                interpolatable=interpolatable(dtype) if undeclared and dtype is not None else meta.interpolatable,
            )
            for meta, undeclared, dtype, shape, axes, n in zip(
                self.source_metas, self._undeclared, dtypes, shapes, names, skip, strict=True
            )
        )
        meta = self.config.infer(*metas)
        if meta.dtype not in (None, self.announced.dtype) and self.announced.dtype is not None:
            raise ComputeError(
                "the batch does not have the announced dtype", found=meta.dtype, allowed=self.announced.dtype
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
