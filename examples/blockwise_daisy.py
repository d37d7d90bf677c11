"""Blockwise prediction in a process function of one's own: `array[roi]` wherever a block is.

Needs torch: ``pip install 'gp_arrays[torch]'``.
"""

import tempfile
from pathlib import Path

import daisy
import numpy as np
from unet import untrained

import gp_arrays as gpa

folder = Path(tempfile.mkdtemp())
array = untrained(folder).array()
tile = gpa.Coordinate(320, 320, 320)

out = gpa.create_zarr(
    folder / "out.zarr",
    "prediction",
    roi=array.roi,
    voxel_size=array.voxel_size,
    dtype=array.dtype,
    chunks=(40, 40, 40),
)


def predict(block):
    # the array reads the context by itself, and no other block writes these chunks
    out[block.write_roi] = array[block.write_roi]


if __name__ == "__main__":
    block = gpa.Roi((0, 0, 0), tile)
    task = daisy.Task(
        "predict", array.roi, block, block, predict, max_workers=2, read_write_conflict=False, fit="shrink"
    )
    assert daisy.run_blockwise([task])
    print("predicted", out)
    stored = gpa.open_zarr(folder / "out.zarr", "prediction")
    np.testing.assert_allclose(stored[:40, 3:50, 7:9], array[:40, 3:50, 7:9], atol=1e-6)
