"""A training pipeline: the tree compiled into gunpowder, augmented, and asked for batches."""

import tempfile

import gunpowder as gp

import gp_arrays as gpa
from gp_arrays.cli.sample import make_sample

RAW, MASKS = gp.ArrayKey("RAW"), gp.ArrayKey("MASKS")
tree = make_sample(tempfile.mkdtemp())

pipeline = (
    gpa.compile_pipeline({RAW: tree["normalized"], MASKS: tree["masks"]})
    + gp.RandomLocation()
    + gp.SimpleAugment()
    + gp.IntensityAugment(RAW, 0.9, 1.1, -0.1, 0.1)
    + gp.Stack(2)
)

request = gp.BatchRequest(random_seed=1)
request.add(RAW, (512, 512, 512))
request.add(MASKS, (256, 256, 256))

with gp.build(pipeline):
    batch = pipeline.request_batch(request)
    print("raw", batch[RAW].data.shape, batch[RAW].data.dtype)
    print("masks", batch[MASKS].data.shape, batch[MASKS].data.dtype)
    assert batch[RAW].data.shape == (2, 64, 64, 64)
    assert batch[MASKS].data.shape == (2, 3, 32, 32, 32)
