"""A compiled tree as a gunpowder pipeline: a chain of nodes after a merge of all sources.

gunpowder wants every array to begin on its voxel grid through zero. A shift puts them there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gunpowder as gp
from funlib.geometry import Coordinate

from ..errors import TreeError, quoted
from ..model import fields
from ..model.base import ArrayConfig
from ..model.config import Config
from ..model.plan import Plan, Step, compile_plan
from .node_types import node_of
from .steps import Compiled, Outputs, Steps

#: A tree of more arrays is cut into nodes of several arrays each: a request costs time for each node
#: times each key that passes it. The larger the tree, the fewer nodes.
LONGEST_CHAIN = 100
NODES_TIMES_ARRAYS = 1000

#: Where voxels may begin on an axis, as (remainder, modulus).
Classes = list[tuple[int, int]]


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
            raise TreeError(
                "the keys of a pipeline must be array keys", found=quoted(key), allowed="a gunpowder.ArrayKey"
            )
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


def common_shift(trees: Sequence[Any], unit: str | None = None) -> Coordinate:
    """The smallest shift that serves several trees, for pipelines that are merged.

    World coordinates are those of the pipeline plus the shift, in the unit of the trees.

    Args:
        trees: Array configs, or the mappings of keys to configs that ``compile_pipeline`` takes.
        unit: The unit of the trees; by default what their files say, else nm.

    Raises:
        TreeError: The trees have different units or numbers of spatial axes, or begin where no
            shift serves two of them.

    >>> import gp_arrays as gpa, numpy as np
    >>> data = np.zeros((8, 8), np.uint8)
    >>> raw = gpa.NumpyArrayConfig("raw", data, offset=(2, 0), voxel_size=(4, 4))
    >>> labels = gpa.NumpyArrayConfig("labels", data, offset=(10, 0), voxel_size=(16, 16))
    >>> common_shift([raw, labels])
    (10, 0)
    """
    if isinstance(trees, (Config, str, Mapping)) or not isinstance(trees, Sequence) or not trees:
        raise TreeError("trees must be a list of array configs", found=quoted(trees))
    plans = [
        compile_plan(
            {str(key): config for key, config in tree.items()} if isinstance(tree, Mapping) else {f"tree {i}": tree},
            unit,
        )
        for i, tree in enumerate(trees)
    ]
    units = {plan.unit for plan in plans}
    if len(units) > 1:
        raise TreeError("pipelines that are merged need one unit", found=", ".join(sorted(units)))
    return Coordinate(remainder for remainder, _ in _classes([step for plan in plans for step in plan.steps]))


def shift_of(plan: Plan, shift: Any) -> Coordinate:
    """The shift of a compiled tree, as the user asks for it.

    Args:
        plan: The compiled tree.
        shift: One length per spatial axis; ``"auto"`` for the smallest that serves the tree;
            None where all arrays begin on their voxel grids.

    Raises:
        TreeError: The shift does not serve the tree. The error tells which do.
    """
    classes = _classes(plan.steps)
    if isinstance(shift, str) and shift == "auto":
        return Coordinate(remainder for remainder, _ in classes)
    lengths = fields.named("shift", fields.to_lengths, shift)
    if lengths is None:
        values = [0] * len(classes)
    elif len(lengths) != len(classes):
        raise TreeError(
            "a shift has one length per spatial axis", found=quoted(shift), allowed=f"{len(classes)} lengths"
        )
    else:
        values = [length.to(plan.unit) for length in lengths]
    if all((value - remainder) % modulus == 0 for value, (remainder, modulus) in zip(values, classes, strict=True)):
        return Coordinate(int(value) for value in values)
    suits = ", ".join(f"{remainder} modulo {modulus}" for remainder, modulus in classes)
    raise TreeError(
        "voxels do not begin on gunpowder's grid through zero" + ("" if shift is None else " with this shift"),
        found="no shift" if shift is None else f"shift={shift!r}",
        allowed=f'a shift of ({suits}) {plan.unit}, such as shift="auto" for a tree alone; pipelines that are '
        "merged need one shift and one unit: gp_arrays.common_shift gives the shift",
    )


def _classes(steps: Sequence[Step]) -> Classes:
    """Which shifts put every array on its voxel grid, axis by axis: those of a remainder modulo a modulus."""
    dims = steps[0].meta.dims
    if any(step.meta.dims != dims for step in steps):
        by_name = ", ".join(f"{step.config.name}: {step.meta.dims}" for step in steps)
        raise TreeError("the arrays of a pipeline have different numbers of spatial axes", found=by_name)
    classes = []
    for axis in range(dims):
        remainder, modulus = 0, 1
        for step in steps:
            origin, size = step.meta.origin[axis], int(step.meta.voxel_size[axis])
            shared = math.gcd(modulus, size)
            if (origin - remainder) % shared:
                raise _no_shift(steps, step, axis)
            # the Chinese remainder theorem, for moduli that may share factors
            inverse = pow(modulus // shared, -1, size // shared)
            remainder += modulus * ((origin - remainder) // shared * inverse % (size // shared))
            modulus = math.lcm(modulus, size)
        classes.append((remainder, modulus))
    return classes


def _no_shift(steps: Sequence[Step], second: Step, axis: int) -> TreeError:
    origin, size = second.meta.origin[axis], int(second.meta.voxel_size[axis])
    # where all of several congruences cannot hold, two of them already contradict each other
    first = next(s for s in steps if (s.meta.origin[axis] - origin) % math.gcd(int(s.meta.voxel_size[axis]), size))
    return TreeError(
        "no shift puts the voxels of two arrays on gunpowder's grid",
        found=", ".join(
            f"{step.config.name} begins at {step.meta.region.roi.begin}, voxel size {step.meta.voxel_size}"
            for step in (first, second)
        ),
        allowed="begins that agree modulo the common divisor of both voxel sizes; `offset=` overrides a source's",
        path=(first.config.name,),
    )
