"""Train a small network on affinities, with gunpowder's processes or with those of torch's DataLoader.

    python examples/train_affinities.py [--store fib25.zarr] [--batches 200] [--data precache | torch]

Without a store it trains on a sample that it makes. It needs torch: pip install 'gp_arrays[torch]'.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import gunpowder as gp

import gp_arrays as gpa
from gp_arrays.cli.sample import STORE, make_sample

OFFSETS = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
VOXELS = 32


def targets(raw, labels):
    """What the network reads and what it is to say: normalized values, affinities, and where these are known."""
    eroded = gpa.ErodeArrayConfig("eroded", labels, steps=1)
    return {
        "raw": gpa.IntensitiesArrayConfig("raw", raw, min=0, max=255),
        "affinities": gpa.AffinitiesArrayConfig("affinities", eroded, OFFSETS),
        "known": gpa.AffinitiesArrayConfig("known", eroded, OFFSETS, output="mask"),
        "labelled": gpa.ThresholdArrayConfig("labelled", labels, threshold=0),
    }


def nodes(keys):
    """Crops of which half is labelled, mirrored and changed in brightness."""
    location = gpa.RandomLocationInMask(keys["labelled"], min_masked=0.5)
    return [location, gp.SimpleAugment(), gp.IntensityAugment(keys["raw"], 0.9, 1.1, -0.1, 0.1)]


def batches_of_gunpowder(tree, size, batch_size):
    """Batches made ahead in processes of gunpowder."""
    import torch

    keys = {name: gp.ArrayKey(name.upper()) for name in tree}
    pipeline = gpa.compile_pipeline({keys[name]: config for name, config in tree.items()}, shift="auto")
    for node in nodes(keys):
        pipeline += node
    pipeline += gp.Stack(batch_size)
    pipeline += gp.PreCache(cache_size=8, num_workers=2)
    request = gp.BatchRequest()
    for key in keys.values():
        request.add(key, size)
    with gp.build(pipeline):
        while True:
            batch = pipeline.request_batch(request)
            yield {name: torch.from_numpy(batch[key].data) for name, key in keys.items()}


def batches_of_torch(tree, size, batch_size):
    """Batches made ahead in processes of a DataLoader; sample i is the same in each run."""
    from torch.utils.data import DataLoader

    dataset = gpa.TorchDataset(tree, dict.fromkeys(tree, size), seed=1, nodes=nodes)
    return DataLoader(dataset, batch_size=batch_size, num_workers=2)


def main():
    import torch

    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--data", choices=["precache", "torch"], default="torch")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if options.store is None:
        folder = Path(tempfile.mkdtemp())
        make_sample(folder)
        options.store = folder / STORE
    raw = gpa.ZarrArrayConfig("grey", options.store, "raw")
    labels = gpa.ZarrArrayConfig("labels", options.store, "labels/neurons")
    tree = targets(raw, labels)
    size = tree["raw"].array().voxel_size * VOXELS
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv3d(8, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv3d(8, len(OFFSETS), 1),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    batches = (batches_of_gunpowder if options.data == "precache" else batches_of_torch)(tree, size, 4)
    losses, begin = [], time.perf_counter()
    for batch in itertools.islice(batches, options.batches):
        prediction = network(batch["raw"][:, None])
        loss_of_voxels = torch.nn.functional.binary_cross_entropy_with_logits(
            prediction, batch["affinities"].float(), reduction="none"
        )
        known = batch["known"].float()
        loss = (loss_of_voxels * known).sum() / known.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    few = max(1, len(losses) // 10)
    first, last = sum(losses[:few]) / few, sum(losses[-few:]) / few
    print(
        f"{options.data}: {len(losses)} batches in {time.perf_counter() - begin:.0f} s, loss {first:.3f} to {last:.3f}"
    )


if __name__ == "__main__":
    try:
        import torch  # noqa: F401
    except ImportError:
        print("torch is not installed: pip install 'gp_arrays[torch]'")
    else:
        main()
