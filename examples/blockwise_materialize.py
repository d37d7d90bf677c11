"""Blockwise prediction, the short way: the prediction is an array, and `materialize` writes any array.

Needs torch: ``pip install 'gp_arrays[torch]'``.
"""

import tempfile
from pathlib import Path

import numpy as np
from unet import untrained

import gp_arrays as gpa

folder = Path(tempfile.mkdtemp())
prediction = untrained(folder)
# what follows from a prediction is written in the same pass: each tile is computed once
border = gpa.ThresholdArrayConfig("border", prediction, threshold=0.5)

result = gpa.materialize(
    {"prediction": prediction, "border": border}, folder / "out.zarr", num_workers=2, progress=False
)
print(result)
assert result.ok

stored = gpa.open_zarr(folder / "out.zarr", "prediction")
assert stored.data.chunks == (40, 40, 40)  # a tile
np.testing.assert_allclose(stored[:40, 3:50, 7:9], prediction.array()[:40, 3:50, 7:9], atol=1e-6)
