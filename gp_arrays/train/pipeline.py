"""A compiled tree as a gunpowder pipeline: a chain of nodes after a merge of all sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gunpowder as gp

from ..errors import TreeError, quoted
from ..model.base import ArrayConfig
from ..model.plan import compile_plan
from .node_types import node_of
from .shift import shift_of
from .steps import Compiled, Outputs, Steps

#: A tree of more arrays is cut into nodes of several arrays each: a request costs time for each node
#: times each key that passes it. The larger the tree, the fewer nodes.
LONGEST_CHAIN = 100
NODES_TIMES_ARRAYS = 1000


def compile_pipeline(
    arrays: Mapping[gp.ArrayKey, ArrayConfig], unit: str | None = None, shift: Any = None
) -> gp.Pipeline:
    """A gunpowder pipeline that provides the arrays of a tree.

    The pipeline provides the given keys and nothing else; equal subtrees are computed
    once. Each array is a node of its own type, such as ``Binarize``; of a long tree a node
    holds several. gunpowder wants arrays to begin on their voxel grids through zero: where they
    do not, a shift is needed, and world coordinates are those of the pipeline plus the shift.

    Args:
        arrays: For each key the array that it provides.
        unit: The unit of the tree; by default what its file says, else nm.
        shift: One length per spatial axis; ``"auto"`` is the smallest that serves the tree. Pipelines
            that are merged need one shift: ``common_shift`` gives it.

    Raises:
        TreeError, StoreError: As ``compile_plan``; TreeError also where arrays are off their
            voxel grids and the shift does not put them there.

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
        raise TreeError("not array configs by key", found=quoted(arrays))
    for key in arrays:
        if not isinstance(key, gp.ArrayKey):
            raise TreeError("a pipeline provides array keys", found=quoted(key), allowed="a gunpowder.ArrayKey")
    if not arrays:
        raise TreeError("no array to provide")
    plan = compile_plan({str(key): config for key, config in arrays.items()}, unit)
    keys = [gp.ArrayKey(step.key) for step in plan.steps]
    compiled = Compiled(plan, keys, shift_of(plan, shift))
    outputs = {key: plan.outputs[str(key)] for key in arrays}
    sources = tuple(
        node_of(type(step.config)).of_step(compiled, i) for i, step in enumerate(plan.steps) if step.opened is not None
    )
    pipeline = sources + gp.MergeProvider() if len(sources) > 1 else gp.Pipeline(sources[0])
    for node in _filters(compiled, set(outputs.values())):
        pipeline += node
    return pipeline + Outputs(compiled, outputs)


def _filters(compiled: Compiled, outputs: set[int]) -> list[Steps]:
    """The nodes of all arrays that are computed: one for each, or for several of a long tree."""
    steps = compiled.plan.steps
    computed = [i for i, step in enumerate(steps) if step.opened is None]
    if len(steps) <= LONGEST_CHAIN:
        return [node_of(type(steps[i].config)).of_step(compiled, i) for i in computed]
    size = -(-len(computed) // max(1, NODES_TIMES_ARRAYS // len(steps)))
    parts = [computed[i : i + size] for i in range(0, len(computed), size)]
    readers: dict[int, set[int]] = {i: set() for i in range(len(steps))}
    for number, part in enumerate(parts):
        for i in part:
            for source in steps[i].sources:
                readers[source].add(number)
    return [
        Steps(compiled, part, [i for i in part if i in outputs or readers[i] - {number}])
        for number, part in enumerate(parts)
    ]
