"""Nodes that resample, in pipelines written by hand."""

import gunpowder as gp
import numpy as np
import pytest
from resample_helpers import IDS, RNG, numpy_source, random_voxels, resampled

import gp_arrays as gpa
from gp_arrays.testing import assert_same

RAW, LABELS, OUT, IDS_OUT = (gp.ArrayKey(f"TEST_RESAMPLE_{name}") for name in ("RAW", "LABELS", "OUT", "IDS_OUT"))


def by_hand(raw, labels, *after):
    sources = (
        gpa.NumpySource(RAW, raw, voxel_size=(4, 4, 4)),
        gpa.NumpySource(LABELS, labels, voxel_size=(4, 4, 4)),
    )
    pipeline = sources + gp.MergeProvider()
    for node in after:
        pipeline += node
    pipeline += gpa.Resample(RAW, OUT, upsample=(2, 2, 2), downsample=(1, 1, 1), interp_order=1)
    return pipeline + gpa.Resample(
        LABELS, IDS_OUT, upsample=(1, 1, 1), downsample=(2, 2, 2), interp_order=0, downsample_by="mode"
    )


def test_nodes_by_hand():
    raw, labels = random_voxels((12, 12, 12), "uint8"), RNG.choice(IDS, (12, 12, 12))
    pipeline = by_hand(raw, labels)
    fine = resampled(numpy_source(raw, (4, 4, 4)), (2, 2, 2), (1, 1, 1)).array()
    coarse = resampled(numpy_source(labels, (4, 4, 4)), (1, 1, 1), (2, 2, 2), 0, "mode").array()
    roi = gp.Roi((8, 0, 16), (32, 16, 32))
    with gp.build(pipeline):
        assert pipeline.spec[OUT].voxel_size == gp.Coordinate(2, 2, 2)
        assert pipeline.spec[OUT].roi == fine.roi
        assert pipeline.spec[IDS_OUT].dtype == np.uint64
        batch = pipeline.request_batch(
            gp.BatchRequest({OUT: gp.ArraySpec(roi=roi), IDS_OUT: gp.ArraySpec(roi=roi), RAW: gp.ArraySpec(roi=roi)})
        )
    assert_same(batch[OUT].data, fine[roi], "linear")
    assert_same(batch[IDS_OUT].data, coarse[roi], "mode")
    assert np.array_equal(batch[RAW].data, raw[2:10, 0:4, 4:12])


def test_nodes_after_augmentation():
    raw, labels = random_voxels((16, 16, 16), "uint8"), RNG.choice(IDS, (16, 16, 16))
    pipeline = by_hand(raw, labels, gp.RandomLocation(), gp.SimpleAugment(), gp.Pad(RAW, None), gp.Pad(LABELS, None))
    roi, around = gp.Roi((0, 0, 0), (24, 24, 24)), gp.Roi((-8, -8, -8), (40, 40, 40))
    rois = {OUT: roi, IDS_OUT: roi, RAW: around, LABELS: around}
    with gp.build(pipeline):
        assert pipeline.spec[OUT].roi.unbounded
        for seed in range(1, 5):
            request = gp.BatchRequest(random_seed=seed)
            for key, wanted in rois.items():
                request[key] = gp.ArraySpec(roi=wanted)
            batch = pipeline.request_batch(request)
            # the augmented voxels are resampled
            for key, source, up, down, order, by in (
                (OUT, RAW, (2, 2, 2), (1, 1, 1), 1, None),
                (IDS_OUT, LABELS, (1, 1, 1), (2, 2, 2), 0, "mode"),
            ):
                seen = numpy_source(batch[source].data, voxel_size=(4, 4, 4), offset=(-8, -8, -8))
                assert_same(batch[key].data, resampled(seen, up, down, order, by).array()[roi], str(key))


def test_unbounded_sources_have_no_edge():
    raw = np.full((1, 8), 100, np.uint8)
    pipeline = gpa.NumpySource(RAW, raw, voxel_size=(2, 2)) + gp.Pad(RAW, None)
    pipeline += gpa.Resample(RAW, OUT, (1, 2), (1, 1), 1)
    with gp.build(pipeline):
        request = gp.BatchRequest({OUT: gp.ArraySpec(roi=gp.Roi((0, -2), (2, 6)))})
        # the padding's zeros count: a quarter of 100 beyond the edge, three quarters within it
        assert pipeline.request_batch(request)[OUT].data.tolist() == [[0, 25, 75, 100, 100, 100]]


class SaysLittle(gp.BatchProvider):
    """Provides voxels; its spec has neither dtype nor interpolatable, or only the dtype."""

    def __init__(self, arrays, tells_dtype):
        self.arrays, self.tells_dtype = arrays, tells_dtype

    def setup(self):
        for key, data in self.arrays.items():
            roi = gp.Roi((0,) * data.ndim, data.shape)
            self.provides(key, gp.ArraySpec(roi, (1,) * data.ndim, dtype=data.dtype if self.tells_dtype else None))

    def provide(self, request):
        batch = gp.Batch()
        for key, spec in request.items():
            array_spec = self.spec[key].copy()
            array_spec.roi, array_spec.dtype = spec.roi, self.arrays[key].dtype
            batch[key] = gp.Array(self.arrays[key][spec.roi.to_slices()], array_spec)
        return batch


@pytest.mark.parametrize("tells_dtype", [False, True])
def test_sources_that_do_not_say_whether_they_are_interpolatable(tells_dtype):
    grey, ids = np.array([[0, 8, 8, 0]], np.uint8), np.array([[7, 9, 9, 7]], np.uint64)
    source = SaysLittle({RAW: grey, LABELS: ids}, tells_dtype)
    pipeline = source + gpa.Resample(RAW, OUT, (1, 1), (1, 2), interp_order=1)
    roi = gp.Roi((0, 0), (1, 4))
    with gp.build(pipeline):
        # no spec says that grey may be interpolated, so the node does not say so either
        assert pipeline.spec[OUT].interpolatable is None
        batch = pipeline.request_batch(gp.BatchRequest({OUT: gp.ArraySpec(roi=roi)}))
        assert batch[OUT].data.tolist() == [[4, 4]]
    refused = SaysLittle({LABELS: ids}, tells_dtype) + gpa.Resample(LABELS, OUT, (1, 1), (1, 2), interp_order=1)
    with pytest.raises(Exception) as raised, gp.build(refused):  # noqa: PT011
        refused.request_batch(gp.BatchRequest({OUT: gp.ArraySpec(roi=roi)}))
    causes = []
    error = raised.value
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    assert any(isinstance(cause, gpa.TreeError) and "dtype uint64" in str(cause) for cause in causes)
