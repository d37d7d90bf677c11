"""Nodes made from configs: their signatures, docstrings, pickles and errors."""

import inspect
import pickle
import subprocess
import sys

import attrs
import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.config import SOURCE

A, B, OUT = (gp.ArrayKey(f"TEST_NODE_TYPES_{name}") for name in "ABC")
DATA = np.arange(12, dtype=np.uint8).reshape(3, 4)


@attrs.frozen(eq=False, repr=False)
class ScaledArrayConfig(gpa.PointwiseConfig):
    """An array times a factor.

    Args:
        source_array_config: Any array.
        factor: What it is multiplied by.
    """

    source_array_config: gpa.ArrayConfig = attrs.field(metadata=SOURCE)
    factor: int = 2

    def infer(self, *sources):
        return sources[0]

    def kernel(self, dtype, *sources):
        return (sources[0] * self.factor).astype(dtype)


def names(node):
    return list(inspect.signature(node).parameters)


def ask(pipeline, key, roi):
    with gp.build(pipeline):
        return pipeline.request_batch(gp.BatchRequest({key: gp.ArraySpec(roi=gp.Roi(*roi))}))[key].data


def test_every_type_is_a_node_of_gunpowder():
    for name in gpa.ARRAY_TYPES:
        config = getattr(gpa, name)
        node = gpa.node_of(config)
        assert issubclass(node, gp.BatchProvider)
        assert issubclass(node, gp.BatchFilter) == (not issubclass(config, gpa.SourceConfig))
        assert node is gpa.node_of(config)
        assert node.__module__ == "gp_arrays"
        assert pickle.loads(pickle.dumps(node)) is node
        kinds = {p.kind for p in inspect.signature(node).parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        assert node.__doc__.splitlines()[0] == inspect.getdoc(config).splitlines()[0]
        for argument in names(node):
            assert f"\n    {argument}: " in node.__doc__, (name, argument)


def test_the_order_of_arguments():
    assert names(gpa.Binarize)[:4] == ["source", "target", "groupings", "background"]
    assert names(gpa.Concat)[:4] == ["sources", "target", "channels", "default"]
    assert names(gpa.ZarrSource)[:3] == ["key", "file_name", "dataset"]
    assert names(gpa.ZarrSource)[-1] == "tree_unit"
    assert inspect.signature(gpa.Binarize).parameters["background"].default == 0


def test_a_type_of_ones_own():
    node = gpa.node_of(ScaledArrayConfig)
    assert (node.__name__, node.__module__) == ("Scaled", __name__)
    assert names(node) == ["source", "target", "factor"]
    got = ask(gpa.NumpySource(A, DATA) + gp.Pad(A, None) + gp.Stack(2) + node(A, OUT, factor=3), OUT, ((0, 0), (3, 4)))
    assert np.array_equal(got, np.stack([DATA * 3] * 2))

    class Twice(node):
        def __init__(self, key):
            super().__init__(key, OUT)

    assert names(Twice) == ["key"]
    assert np.array_equal(ask(gpa.NumpySource(A, DATA) + Twice(A), OUT, ((0, 0), (3, 4))), DATA * 2)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: gpa.Binarize(A), r"Binarize\(\) missing a required argument: 'target'"),
        (lambda: gpa.Binarize(A, OUT, [], nonsense=1), r"Binarize\(\) got an unexpected keyword argument 'nonsense'"),
        (lambda: gpa.Binarize(A, OUT, 5), "groupings"),
        (lambda: gpa.Binarize("A", OUT, [("a", [1])]), "array keys; found 'A'"),
        (lambda: gpa.Binarize(A, "OUT", [("a", [1])]), "array keys; found 'OUT'"),
        (lambda: gpa.Concat([A], OUT), "sources must be array keys by name"),
        (lambda: gpa.ZarrSource(A, 5, "raw"), "file_name"),
        (lambda: gpa.LogicalOr(A, OUT, axes="c"), "axes: not a list of names"),
        (lambda: gpa.node_of(5), "not the class of an array type"),
        (lambda: gpa.node_of(gpa.ArrayConfig), "not the class of an array type"),
    ],
)
def test_bad_arguments_are_one_line(call, problem):
    with pytest.raises((gpa.GpArraysError, TypeError), match=problem) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_nodes_of_a_compiled_tree_are_of_their_own_type():
    base = gpa.NumpyArrayConfig("base", DATA)
    tree = gpa.LogicalOrArrayConfig("any", gpa.BinarizeArrayConfig("masks", base, [("one", [1])]))
    pipeline = gpa.compile_pipeline({OUT: tree})
    types = []
    pipeline.traverse(lambda part: types.append(type(part.output)), reverse=True)
    assert types[:3] == [gpa.NumpySource, gpa.Binarize, gpa.LogicalOr]
    again = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(ask(again, OUT, ((0, 0), (3, 4))), DATA == 1)


SPAWNED = """
import multiprocessing
import gunpowder as gp, numpy as np, gp_arrays as gpa

def main(method):
    multiprocessing.set_start_method(method, force=True)
    raw, out = gp.ArrayKey("RAW"), gp.ArrayKey("OUT")
    config = gpa.NumpyArrayConfig("base", np.arange(12, dtype=np.uint8).reshape(3, 4))
    trees = (gpa.compile_pipeline({raw: gpa.ThresholdArrayConfig("t", config, 5)}),)
    pipeline = trees[0] + gpa.Binarize(raw, out, [("one", [1])])
    request = gp.BatchRequest({out: gp.ArraySpec(roi=gp.Roi((0, 0), (3, 4)))})
    with gp.build(pipeline):
        print(pipeline.request_batch(request)[out].data.sum())
    pipeline += gp.PreCache(2, 1)
    with gp.build(pipeline):
        print(pipeline.request_batch(request)[out].data.sum())

if __name__ == "__main__":
    import sys
    main(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_precache_in_forked_and_spawned_processes(method, tmp_path):
    """Also after the parent has read a batch. In a separate process: a deadlock must not stop the tests."""
    script = tmp_path / "script.py"
    script.write_text(SPAWNED)
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["6", "6"], done.stderr
