"""Train a small network for a minute, predict a volume blockwise, threshold it, look at it, score it.

    python examples/predict.py fib25.zarr [--steps 300] [--size VOXELS]

The network learns where neurons touch each other. It sees the first half of the volume along z; the second half
tells how good it is. STORE holds grey values in `raw` and ids in `labels/neurons`. Needs torch:
``pip install 'gp_arrays[torch]'``.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import gunpowder as gp
import numpy as np
import torch
from unet import unet

import gp_arrays as gpa

TILE, CONTEXT, STRIDE = 40, 8, 2  # voxels


def make_tree(store, size):
    """What the network reads, and what it is to say: 0 where neurons touch, else 1."""
    grey = gpa.ZarrArrayConfig("grey", store, "raw")
    labels = gpa.ZarrArrayConfig("labels", store, "labels/neurons")
    if size is not None:
        roi, voxel_size = grey.array().roi, grey.array().voxel_size
        cube = gpa.Roi(roi.begin, voxel_size * size)
        grey, labels = gpa.CropArrayConfig("grey_part", grey, cube), gpa.CropArrayConfig("labels_part", labels, cube)
    raw = gpa.IntensitiesArrayConfig("raw", grey, min=128, max=160)
    interior = gpa.BinarizeArrayConfig("interior", gpa.ErodeArrayConfig("eroded", labels), groupings=[("neuron", [])])
    return grey, labels, raw, interior


def train(raw, interior, roi, steps):
    """A network, trained on what lies in the roi."""
    RAW, INTERIOR = gp.ArrayKey("RAW"), gp.ArrayKey("INTERIOR")
    part = {
        RAW: gpa.CropArrayConfig("raw_half", raw, roi),
        INTERIOR: gpa.CropArrayConfig("interior_half", interior, roi),
    }
    pipeline = gpa.compile_pipeline(part) + gp.RandomLocation() + gp.SimpleAugment()
    voxel_size = raw.array().voxel_size

    torch.manual_seed(0)
    network = unet()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    with gp.build(pipeline):
        for step in range(steps):
            request = gp.BatchRequest(random_seed=step + 1)  # one seed for all would be one batch for all
            request.add(RAW, voxel_size * 32)
            request.add(INTERIOR, voxel_size * (32 - 2 * CONTEXT))
            batch = pipeline.request_batch(request)
            voxels = torch.from_numpy(batch[RAW].data[np.newaxis, np.newaxis].copy())
            touching = torch.from_numpy(1 - batch[INTERIOR].data[np.newaxis].astype(np.float32))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network.logits(voxels), touching, pos_weight=torch.tensor(6.0)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    first, last = np.mean(losses[:20]), np.mean(losses[-20:])
    print(f"loss: {first:.3f} at first, {last:.3f} at last")
    assert last < first
    return network


def bare_loop(network, array):
    """The prediction of the same tiles, without this library's arrays."""
    shape = [(n - 2 * CONTEXT) // STRIDE * STRIDE for n in array.shape]
    voxels = torch.from_numpy(array[:])[None, None]
    result = np.empty(shape, np.float32)
    for regular in itertools.product(*(range(0, n, TILE) for n in shape)):
        # the last tile of an axis is moved inward; of it only what no other tile has is taken
        begin = [min(r, n - TILE) for r, n in zip(regular, shape, strict=True)]
        with torch.inference_mode():
            tile = network(voxels[:, :, *(slice(b, b + TILE + 2 * CONTEXT) for b in begin)])[0, 0].numpy()
        part = tuple(slice(r, b + TILE) for r, b in zip(regular, begin, strict=True))
        result[part] = tile[tuple(slice(r - b, TILE) for r, b in zip(regular, begin, strict=True))]
    return result


def main(store, steps, size):
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    grey, labels, raw, interior = make_tree(store, size)
    array = raw.array()
    half = gpa.Coordinate(array.shape[0] // 2, *array.shape[1:]) * array.voxel_size
    network = train(raw, interior, gpa.Roi(array.roi.begin, half), steps)
    torch.save(network.state_dict(), folder / "weights.pt")

    # how to tile is measured, not guessed
    measured = gpa.measure_context(network)
    print(measured)
    assert measured.shrinks == (2 * CONTEXT,) * 3
    assert measured.stride == (STRIDE,) * 3

    # the prediction is an array of the tree, and so is what follows from it
    touching = gpa.PredictArrayConfig(
        "touching",
        raw,
        model="unet:unet",
        checkpoint=folder / "weights.pt",
        tile_size=array.voxel_size * TILE,
        context_size=array.voxel_size * CONTEXT,
        stride=array.voxel_size * STRIDE,
    )
    border = gpa.ThresholdArrayConfig("border", touching, threshold=0.5)
    result = gpa.materialize(
        {"touching": touching, "border": border}, folder / "out.zarr", num_workers=2, progress=False
    )
    print(result)
    assert result.ok

    stored = gpa.open_zarr(folder / "out.zarr", "touching")
    np.testing.assert_allclose(stored[:], bare_loop(network, array), atol=1e-5)
    print("equal to a bare loop over the same tiles")

    # how good it is where it has not been trained
    said = gpa.open_zarr(folder / "out.zarr", "border")
    later = said.roi.intersect(gpa.Roi(array.roi.begin + gpa.Coordinate(half[0], 0, 0), array.roi.shape))
    touch = interior.array()[later][0] == 0
    sure = said[later].astype(bool)
    score = (sure[touch].mean() + (~sure[~touch]).mean()) / 2
    print(f"balanced accuracy in the second half: {score:.3f}; by chance 0.5")
    assert score > 0.65

    view = gpa.view({"raw": grey, "labels": labels, "border": said}, quiet=True)
    try:
        view.screenshot(folder / "prediction.png")
        print("a picture:", folder / "prediction.png")
    except gpa.ComputeError as error:
        print("no picture:", error)
    view.close()
    print("look at it: gp-arrays view", folder / "out.zarr")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, help="voxels along each axis; all by default")
    options = parser.parse_args()
    main(options.store.absolute(), options.steps, options.size)
