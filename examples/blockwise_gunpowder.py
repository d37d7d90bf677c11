"""Blockwise prediction in a gunpowder pipeline: `Scan` in one process, `DaisyRequestBlocks` in several.

Needs torch: ``pip install 'gp_arrays[torch]'``.
"""

import tempfile
from pathlib import Path

import daisy
import gunpowder as gp
import numpy as np
from unet import untrained

import gp_arrays as gpa

folder = Path(tempfile.mkdtemp())
prediction = untrained(folder)
array = prediction.array()
PREDICTION = gp.ArrayKey("PREDICTION")
tile = gp.BatchRequest({PREDICTION: gp.ArraySpec(gp.Roi(array.roi.begin, (320, 320, 320)))})


def pipeline_into(dataset):
    # made beforehand, so that chunks are whole parts of a tile
    gpa.create_zarr(
        folder / "out.zarr", dataset, roi=array.roi, voxel_size=array.voxel_size, dtype=array.dtype, chunks=(40, 40, 40)
    )
    write = gp.ZarrWrite({PREDICTION: dataset}, store=str(folder / "out.zarr"))
    return gpa.compile_pipeline({PREDICTION: prediction}) + write


def scan():
    pipeline = pipeline_into("scanned") + gp.Scan(tile)
    with gp.build(pipeline):
        pipeline.request_batch(gp.BatchRequest())


def work():
    """What each worker of daisy does: blocks, until there are none."""
    pipeline = pipeline_into_blocks + gp.DaisyRequestBlocks(tile, {PREDICTION: "write_roi"})
    with gp.build(pipeline):
        pipeline.request_batch(gp.BatchRequest())


if __name__ == "__main__":
    scan()
    pipeline_into_blocks = pipeline_into("blocks")
    block = tile[PREDICTION].roi
    task = daisy.Task("predict", array.roi, block, block, work, max_workers=2, read_write_conflict=False, fit="shrink")
    assert daisy.run_blockwise([task])
    for dataset in ("scanned", "blocks"):
        stored = gpa.open_zarr(folder / "out.zarr", dataset)
        np.testing.assert_allclose(stored[:40, 3:50, 7:9], array[:40, 3:50, 7:9], atol=1e-6)
        print(dataset, stored)
