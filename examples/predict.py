"""Train a small network for a minute, predict a volume blockwise, threshold it, look at it, score it.

    python examples/predict.py STORE [DATASET_OF_RAW DATASET_OF_LABELS]

The network learns where neurons touch each other. It sees the first half of the volume along z; the second half
tells how good it is. Needs torch: ``pip install 'gp_arrays[torch]'``.
"""

import sys
import tempfile
from pathlib import Path

import gunpowder as gp
import numpy as np
import torch
from unet import unet

import gp_arrays as gpa

STEPS, SEED = 300, 0
TILE, CONTEXT, STRIDE = 40, 8, 2  # voxels

store, raw_name, labels_name = (sys.argv[1:] + ["raw", "labels/neurons"])[:3]
folder = Path(tempfile.mkdtemp())

# the tree: what the network reads, and what it is to say
grey = gpa.ZarrArrayConfig("grey", store, raw_name)
labels = gpa.ZarrArrayConfig("labels", store, labels_name)
raw = gpa.IntensitiesArrayConfig("raw", grey, min=128, max=160)
interior = gpa.BinarizeArrayConfig("interior", gpa.ErodeArrayConfig("eroded", labels), groupings=[("neuron", [])])

roi, voxel = raw.array().roi, np.array(raw.array().voxel_size)
half = gpa.Roi(roi.offset, (roi.shape[0] // 2 // voxel[0] * voxel[0], *roi.shape[1:]))

# train on the first half
RAW, INTERIOR = gp.ArrayKey("RAW"), gp.ArrayKey("INTERIOR")
first = {
    key: gpa.CropArrayConfig(f"{array.name}_half", array, half) for key, array in ((RAW, raw), (INTERIOR, interior))
}
pipeline = gpa.compile_pipeline(first) + gp.RandomLocation() + gp.SimpleAugment() + gp.PreCache(num_workers=1)
request = gp.BatchRequest(random_seed=SEED)
request.add(RAW, gp.Coordinate(32 * voxel))
request.add(INTERIOR, gp.Coordinate(16 * voxel))

torch.manual_seed(SEED)
network = unet()
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
losses = []
with gp.build(pipeline):
    for _ in range(STEPS):
        batch = pipeline.request_batch(request)
        voxels = torch.from_numpy(batch[RAW].data[np.newaxis, np.newaxis].copy())
        touching = torch.from_numpy(1 - batch[INTERIOR].data[np.newaxis].astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network.logits(voxels), touching, pos_weight=torch.tensor(3.0)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
print(f"loss: {np.mean(losses[:20]):.3f} at first, {np.mean(losses[-20:]):.3f} at last")
assert np.mean(losses[-20:]) < np.mean(losses[:20])
torch.save(network.state_dict(), folder / "weights.pt")

# how to tile: measured, not guessed
measured = gpa.measure_context(network)
print(measured)
assert all(c <= CONTEXT for c in measured.context)
assert measured.stride == (STRIDE,) * 3

# the prediction is an array of the tree, and so is what follows from it
touching = gpa.PredictArrayConfig(
    "touching",
    raw,
    model="unet:unet",
    checkpoint=folder / "weights.pt",
    tile_size=TILE * voxel,
    context_size=CONTEXT * voxel,
    stride=STRIDE * voxel,
)
border = gpa.ThresholdArrayConfig("border", touching, threshold=0.5)
result = gpa.materialize({"touching": touching, "border": border}, folder / "out.zarr", num_workers=2, progress=False)
assert result.ok, result

# equal to a bare loop over the same tiles
stored = gpa.open_zarr(folder / "out.zarr", "touching")
array = raw.array()
shape = [n - 2 * CONTEXT for n in array.shape]
shape = [n // STRIDE * STRIDE for n in shape]
assert stored.shape == tuple(shape)
torch.set_num_threads(1)
begins = [[min(i, n - TILE) for i in range(0, n, TILE)] for n in shape]
for z in begins[0]:
    for y in begins[1]:
        for x in begins[2]:
            voxels = array[tuple(slice(i, i + TILE + 2 * CONTEXT) for i in (z, y, x))]
            with torch.inference_mode():
                tile = network(torch.from_numpy(voxels[np.newaxis, np.newaxis]))[0, 0].numpy()
            # what the next tile has of this one is the next tile's only where it is not the last
            low = [i - i % TILE if i % TILE == 0 else -(-i // TILE) * TILE for i in (z, y, x)]
            part = tuple(slice(a, min(i + TILE, n)) for a, i, n in zip(low, (z, y, x), shape, strict=True))
            inner = tuple(slice(p.start - i, p.stop - i) for p, i in zip(part, (z, y, x), strict=True))
            np.testing.assert_allclose(stored[part], tile[inner], atol=1e-6)
print("equal to a loop over the same tiles")

# score the second half
area = gpa.open_zarr(folder / "out.zarr", "border")
later = gpa.Roi(
    (half.end[0], *area.roi.begin[1:]),
    [e - b for b, e in zip((half.end[0], *area.roi.begin[1:]), area.roi.end, strict=True)],
)
said, true = area[later].astype(bool), interior.array()[later][0] == 0
score = (said[true].mean() + (~said[~true]).mean()) / 2
print(f"balanced accuracy of the second half: {score:.3f} (chance is 0.5)")
assert score > 0.6

print("look at it: gp-arrays view", folder / "out.zarr")
if "--png" in sys.argv:
    with gpa.view({"raw": grey, "labels": labels, "border": area}, quiet=True) as view:
        view.screenshot(folder / "prediction.png")
