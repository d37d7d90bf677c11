"""gunpowder nodes to append to an array, and their oracle: for the laws of PipelineArrayConfig."""

from __future__ import annotations

from typing import Any

import gunpowder as gp
import numpy as np

from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.train.pipeline_array import PipelineArrayConfig

from .simple_trees import small
from .trees import Pool, grows


class Sign(gp.BatchFilter):  # type: ignore[misc]
    """int8: 1 above zero, -1 below, 0 elsewhere."""

    def __init__(self, source: gp.ArrayKey, target: gp.ArrayKey) -> None:
        self.source, self.target = source, target

    def setup(self) -> None:
        spec = self.spec[self.source].copy()
        spec.dtype = np.dtype(np.int8)
        self.provides(self.target, spec)

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        deps = gp.BatchRequest()
        deps[self.source] = gp.ArraySpec(roi=request[self.target].roi)
        return deps

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch:
        data = batch[self.source].data
        spec = self.spec[self.target].copy()
        spec.roi = request[self.target].roi
        result = gp.Batch()
        result[self.target] = gp.Array((data > 0).astype(np.int8) - (data < 0).astype(np.int8), spec)
        return result


def add_sign(pipeline: gp.Pipeline, source: gp.ArrayKey, target: gp.ArrayKey) -> gp.Pipeline:
    """Appends ``Sign``: the function that configs name."""
    return pipeline + Sign(source, target)


@naive(PipelineArrayConfig)
def appended(config: PipelineArrayConfig, naive: Naive) -> Volume:
    """The oracle of ``add_sign``, the only function that it supports."""
    if config.append != f"{__name__}:add_sign":
        raise LookupError(f"what {config.append} makes of an array is not registered")
    source = naive(config.source_array_config)
    signs = [0 if value == 0 or value != value else 1 if value > 0 else -1 for value in source.data.ravel().tolist()]
    data = np.array(signs, np.int8).reshape(source.data.shape)
    may = False if config.interpolatable is None else config.interpolatable
    return source.with_data(data, interpolatable=may)


@grows(PipelineArrayConfig)
def grow(pool: Pool, name: str) -> Any:
    source = pool.pick(small)
    return None if source is None else PipelineArrayConfig(name, source.config, add_sign, dtype="int8")
