"""Nodes after gp.Stack and gp.Unsqueeze: samples are never treated as channels."""

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

RAW, MASKS, OTHER, OUT = (gp.ArrayKey(f"TEST_SAMPLES_{name}") for name in ("RAW", "MASKS", "OTHER", "OUT"))
IDS = np.arange(24, dtype=np.uint8).reshape(4, 6) % 5
CHANNELS = np.stack([IDS > 2, IDS == 1, IDS == 7]).astype(np.uint8)
ROI = gp.Roi((0, 0), (4, 6))


class Foreign(gp.BatchProvider):
    """A source of another library, whose spec has no axes. Values grow with each request."""

    def __init__(self, key, data):
        self.key, self.data, self.requests = key, data, 0

    def setup(self):
        spec = gp.ArraySpec(gp.Roi((0, 0), self.data.shape[-2:]), (1, 1), dtype=self.data.dtype, interpolatable=False)
        self.provides(self.key, spec)

    def provide(self, request):
        batch = gp.Batch()
        spec = self.spec[self.key].copy()
        spec.roi = request[self.key].roi
        cut = tuple(slice(b, e) for b, e in zip(spec.roi.begin, spec.roi.end, strict=True))
        batch[self.key] = gp.Array((self.data + self.requests).astype(self.data.dtype)[(..., *cut)], spec)
        self.requests += 1
        return batch


def ids(key=RAW):
    return gpa.NumpySource(key, IDS, interpolatable=False)


def channels(key=MASKS):
    return gpa.NumpySource(key, CHANNELS, axes=("c", "y", "x"), interpolatable=False)


def deliver(pipeline, key=OUT, roi=ROI):
    with gp.build(pipeline):
        return pipeline.request_batch(gp.BatchRequest({key: gp.ArraySpec(roi=roi)}))[key].data


#: For each node type: the node, whether it reads channels, and what it gives for one sample.
NODES = {
    "Binarize": (lambda: gpa.Binarize(RAW, OUT, [("one", [1]), ("any", [])]), lambda a: np.stack([a == 1, a > 0])),
    "Intensities": (lambda: gpa.Intensities(RAW, OUT, 0, 4), lambda a: (a / 4).astype("f4")),
    "Threshold": (lambda: gpa.Threshold(RAW, OUT, 2), lambda a: a > 2),
    "Crop": (lambda: gpa.Crop(RAW, OUT, [[0, 0], [4, 6]]), lambda a: a),
    "Constant": (lambda: gpa.Constant(RAW, OUT, 3), lambda a: np.full(a.shape, 3)),
    "Ones": (lambda: gpa.Ones(RAW, OUT), lambda a: np.ones(a.shape)),
    "Resample": (lambda: gpa.Resample(RAW, OUT, (1, 1), (2, 2), 0), lambda a: a[::2, ::2]),
    "Sum": (lambda: gpa.Sum([RAW, RAW], OUT), lambda a: a.astype("u2") * 2),
    "Concat": (lambda: gpa.Concat({"a": RAW, "b": RAW}, OUT), lambda a: np.stack([a, a])),
    "MergeInstances": (lambda: gpa.MergeInstances([RAW], OUT), lambda a: a),
    "MissingAnnotations": (lambda: gpa.MissingAnnotations(RAW, OUT, [("one", [1])]), lambda a: (a > 0)[None]),
    "Relabel": (lambda: gpa.Relabel(RAW, OUT, mapping=[(1, 9)]), lambda a: np.where(a == 1, 9, a)),
    "LogicalOr": (lambda: gpa.LogicalOr(MASKS, OUT), lambda m: m.any(axis=0)),
    "Select": (lambda: gpa.Select(MASKS, OUT, channels=[1]), lambda m: m[[1]]),
    "Select one": (lambda: gpa.Select(MASKS, OUT, channels=1), lambda m: m[1]),
    "Concat channels": (lambda: gpa.Concat({"m": MASKS}, OUT), lambda m: m),
}


def source_of(name):
    reads_channels = name in ("LogicalOr", "Select", "Select one", "Concat channels")
    return (channels(), CHANNELS, MASKS) if reads_channels else (ids(), IDS, RAW)


@pytest.mark.parametrize("name", NODES)
def test_each_sample_is_computed_by_itself(name):
    node, expected = NODES[name]
    source, data, _ = source_of(name)
    want = np.stack([expected(data)] * 3)
    np.testing.assert_array_equal(deliver(source + gp.Stack(3) + node()), want)


@pytest.mark.parametrize("name", NODES)
def test_samples_of_a_source_that_tells_no_axes(name):
    node, expected = NODES[name]
    _, data, key = source_of(name)
    got = deliver(Foreign(key, data) + gp.Stack(2) + node())
    np.testing.assert_array_equal(got, np.stack([expected(data), expected(data + 1)]))


@pytest.mark.parametrize("name", NODES)
def test_after_precache(name):
    node, expected = NODES[name]
    source, data, _ = source_of(name)
    got = deliver(source + gp.Stack(2) + gp.PreCache(2, 1) + node())
    np.testing.assert_array_equal(got, np.stack([expected(data)] * 2))


@pytest.mark.parametrize("name", NODES)
def test_stack_in_another_branch(name):
    node, expected = NODES[name]
    source, data, _ = source_of(name)
    pipeline = (source, ids(OTHER) + gp.Stack(2)) + gp.MergeProvider() + node()
    np.testing.assert_array_equal(deliver(pipeline), expected(data))


@pytest.mark.parametrize("name", NODES)
def test_stack_in_all_branches(name):
    node, expected = NODES[name]
    source, data, _ = source_of(name)
    again, _, _ = source_of(name)
    pipeline = (source + gp.Stack(2), again + gp.Stack(2)) + gp.RandomProvider() + node()
    np.testing.assert_array_equal(deliver(pipeline), np.stack([expected(data)] * 2))


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("name", NODES)
def test_an_axis_of_unknown_meaning(name, stack):
    node, expected = NODES[name]
    source, data, key = source_of(name)
    pipeline = source + gp.Unsqueeze([key])
    pipeline = pipeline + gp.Stack(2) if stack else pipeline
    if name in ("Intensities", "Threshold", "Crop", "Constant", "Ones", "Resample", "Sum"):
        want = expected(data)[None]
        np.testing.assert_array_equal(deliver(pipeline + node()), np.stack([want] * 2) if stack else want)
    else:
        with pytest.raises(Exception, match=r'not known what the axes of TEST_SAMPLES.*axes=\("s", "c"\)'):
            deliver(pipeline + node())


@pytest.mark.parametrize("stack", [False, True])
def test_axes_tell_the_meaning(stack):
    pipeline = ids() + gp.Unsqueeze([RAW])
    names = ("c",)
    if stack:
        pipeline, names = pipeline + gp.Stack(2), ("s", "c")
    want = (IDS != 0)[None] if stack else IDS != 0
    got = deliver(pipeline + gpa.LogicalOr(RAW, OUT, axes=names))
    np.testing.assert_array_equal(got, np.stack([IDS != 0] * 2) if stack else want)
    got = deliver(ids() + gp.Unsqueeze([RAW]) + gpa.Binarize(RAW, OUT, [("any", [])], axes=["s"]))
    np.testing.assert_array_equal(got, (IDS != 0)[None, None])


def test_squeeze_takes_the_axis_away_again():
    pipeline = channels() + gp.Stack(1) + gp.Squeeze([MASKS]) + gpa.LogicalOr(MASKS, OUT)
    np.testing.assert_array_equal(deliver(pipeline), CHANNELS.any(axis=0))


@pytest.mark.parametrize("source", [ids, lambda: Foreign(RAW, IDS)])
def test_nodes_after_one_another(source):
    pipeline = source() + gp.Stack(1) + gpa.Binarize(RAW, MASKS, [("one", [1]), ("two", [2])])
    np.testing.assert_array_equal(deliver(pipeline + gpa.LogicalOr(MASKS, OUT)), [(IDS == 1) | (IDS == 2)])


def test_a_sample_can_be_selected():
    pipeline = Foreign(RAW, IDS) + gp.Stack(3) + gpa.Select(RAW, OUT, at={"s": 2})
    np.testing.assert_array_equal(deliver(pipeline), IDS + 2)


def test_sources_with_and_without_samples():
    pipeline = (ids() + gp.Stack(2), ids(OTHER)) + gp.MergeProvider() + gpa.Sum([RAW, OTHER], OUT)
    with pytest.raises(Exception, match="different numbers of samples.*RAW.*2.*OTHER none"):
        deliver(pipeline)
