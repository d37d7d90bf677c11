"""materialize against a hand-written daisy worker, and its costs at large sizes.

    python tests/benchmarks/bench_materialize.py small [--rounds 5]         256^3 in 64 blocks, start-up and all
    python tests/benchmarks/bench_materialize.py large [--size 384]         blocks of 128^3, start-up and all
    python tests/benchmarks/bench_materialize.py job [--size 1024] [--rounds 5]   ratios, 1 and 2 workers, in turn
    python tests/benchmarks/bench_materialize.py blocks [--count 1000000]   a tracked job of so many blocks
    python tests/benchmarks/bench_materialize.py sparse [--side 10000]      a volume of which 0.01 % exists
    python tests/benchmarks/bench_materialize.py memory                     peak memory of a worker, 256^3 and 1024^3

``small`` and ``large`` compare with two programs by hand, a pool of processes and daisy, with 2 workers each.
``job`` takes about 20 s a run with one worker at a size of 1024. Start-up (the same job with one block a
worker) is taken off. All is written to memory (/dev/shm) where there is such a place: what a disk writes back
of one run while the next is timed says nothing about either. ``--folder`` puts it elsewhere.
"""

import argparse
import functools
import itertools
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import gp_arrays as gpa

GROUPS = [("a", [1, 2, 3]), ("b", [4, 5]), ("c", [6, 7, 8, 9]), ("d", [10, 11, 12, 13, 14]), ("e", [])]
CHUNK, BLOCK = 64, 128


def open_by_hand(folder):
    """In each process of a pool: the arrays."""
    import zarr

    opened["source"] = zarr.open(str(folder / "in.zarr"), mode="r")["ids"]
    opened["target"] = zarr.open(str(folder / "hand.zarr"), mode="r+")["masks"]


opened = {}


def write_by_hand(box):
    ids = opened["source"][box]
    opened["target"][(slice(None), *box)] = masks_by_hand(ids)


def masks_by_hand(ids):
    out = np.empty((len(GROUPS), *ids.shape), np.uint8)
    for channel, (_, members) in zip(out, GROUPS, strict=True):
        if not members:
            channel[...] = ids != 0
            continue
        channel[...] = 0
        for i in members:
            channel |= ids == i
    return out


def make_target(folder, size):
    shutil.rmtree(folder / "hand.zarr", ignore_errors=True)
    extent = gpa.Roi((0,) * 3, (size,) * 3)
    chunks = (1, CHUNK, CHUNK, CHUNK)
    gpa.create_zarr(folder / "hand.zarr", "masks", extent, (1, 1, 1), "uint8", num_channels=len(GROUPS), chunks=chunks)


def run_pool(folder, size, block, workers):
    """A pool of processes, forked as a program by hand does it."""
    starts = range(0, size, block)
    boxes = [tuple(slice(i, i + block) for i in corner) for corner in itertools.product(starts, repeat=3)]
    with multiprocessing.get_context("fork").Pool(workers, open_by_hand, (folder,)) as pool:
        pool.map(write_by_hand, boxes, chunksize=1)


def run_daisy(folder, size, block, workers):
    import daisy.v2 as daisy
    from bench_materialize import by_hand as worker

    box = gpa.Roi((0,) * 3, (block,) * 3)
    task = daisy.Task(
        "hand",
        gpa.Roi((0,) * 3, (size,) * 3),
        box,
        box,
        functools.partial(worker, str(folder)),
        read_write_conflict=False,
        max_workers=workers,
        tracking_path=False,
    )
    assert daisy.run_blockwise(task, progress=False, summary=False, host="127.0.0.1")


def run_materialize(config, folder, size, block, workers):
    masks = gpa.BinarizeArrayConfig("masks", config, groupings=GROUPS)
    path = folder / "ours.zarr"
    assert gpa.materialize(
        masks, path, block=(block,) * 3, chunks=(CHUNK,) * 3, progress=False, num_workers=workers, overwrite=True
    ).ok


def bench_complete(folder, size, block, rounds, workers=2):
    """Complete jobs in turn, from the call to its end."""
    config = make_labels(folder, size)
    runs = {
        "pool by hand": run_pool,
        "daisy by hand": run_daisy,
        "materialize": functools.partial(run_materialize, config),
    }
    seconds = {name: [] for name in runs}
    for round_ in range(rounds):
        # who comes first changes, as a machine's speed drifts
        for name in list(runs)[:: 1 if round_ % 2 else -1]:
            make_target(folder, size)
            began = time.perf_counter()
            runs[name](folder, size, block, workers)
            seconds[name].append(time.perf_counter() - began)
    count = (size // block) ** 3
    for name, values in seconds.items():
        print(f"{size}^3, {count} blocks, {workers} workers, {name}: median {np.median(values):.2f} s")
    for name in list(runs)[:2]:
        ratios = np.array(seconds["materialize"]) / np.array(seconds[name])
        print(f"materialize / {name}: median {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


def make_labels(folder, size):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 40, (BLOCK // 8,) * 3).astype(np.uint64)
    tile = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    made = gpa.create_zarr(
        folder / "in.zarr", "ids", gpa.Roi((0,) * 3, (size,) * 3), (1, 1, 1), "uint64", chunks=(CHUNK,) * 3
    )
    for z in range(0, size, BLOCK):
        for y in range(0, size, BLOCK):
            for x in range(0, size, BLOCK):
                made[z : z + BLOCK, y : y + BLOCK, x : x + BLOCK] = tile
    return gpa.ZarrArrayConfig("ids", folder / "in.zarr", "ids")


def by_hand(folder):
    """The worker that one writes by hand: zarr, numpy, daisy's loop."""
    import daisy.v2 as daisy
    import zarr

    source = zarr.open(str(Path(folder) / "in.zarr"), mode="r")["ids"]
    target = zarr.open(str(Path(folder) / "hand.zarr"), mode="r+")["masks"]
    client = daisy.Client()
    while True:
        with client.acquire_block() as block:
            if block is None:
                return
            box = tuple(slice(b, e) for b, e in zip(block.write_roi.begin, block.write_roi.end, strict=True))
            ids = source[box]
            target[(slice(None), *box)] = masks_by_hand(ids)


def run_by_hand(folder, size, workers):
    import daisy.v2 as daisy
    from bench_materialize import by_hand as worker

    make_target(folder, size)
    box = gpa.Roi((0,) * 3, (BLOCK,) * 3)
    for shape in ((BLOCK * workers, BLOCK, BLOCK), (size,) * 3):
        began = time.perf_counter()
        task = daisy.Task(
            "hand",
            gpa.Roi((0,) * 3, shape),
            box,
            box,
            functools.partial(worker, str(folder)),
            read_write_conflict=False,
            max_workers=workers,
            tracking_path=False,
        )
        assert daisy.run_blockwise(task, progress=False, summary=False, host="127.0.0.1")
        yield time.perf_counter() - began


def run_ours(config, folder, size, workers):
    masks = gpa.BinarizeArrayConfig("masks", config, groupings=GROUPS)
    options = {"block": (BLOCK,) * 3, "chunks": (CHUNK,) * 3, "progress": False, "num_workers": workers}
    for shape in ((BLOCK * workers, BLOCK, BLOCK), (size,) * 3):
        shutil.rmtree(folder / "ours.zarr", ignore_errors=True)
        began = time.perf_counter()
        assert gpa.materialize(masks, folder / "ours.zarr", roi=gpa.Roi((0,) * 3, shape), overwrite=True, **options).ok
        yield time.perf_counter() - began


def bench_job(folder, size, rounds):
    config = make_labels(folder, size)
    runs = {"hand": lambda w: run_by_hand(folder, size, w), "ours": lambda w: run_ours(config, folder, size, w)}
    took = {(name, workers): [] for workers in (1, 2) for name in runs}
    for round_ in range(rounds):
        for workers in (1, 2):
            # who comes first changes, as a machine's speed drifts
            for name in list(runs)[:: 1 if round_ % 2 else -1]:
                start, whole = runs[name](workers)
                took[name, workers].append(whole - start)
                print(f"{name}, {workers} workers: start-up {start:.2f} s, work {whole - start:.2f} s", flush=True)
    seconds = {key: np.array(values) for key, values in took.items()}
    ratios = {
        f"ours / hand, {workers} workers": seconds["ours", workers] / seconds["hand", workers] for workers in (1, 2)
    }
    ups = {name: seconds[name, 1] / seconds[name, 2] for name in runs}
    ratios |= {f"speed-up from 1 to 2 workers, {name}": up for name, up in ups.items()}
    ratios["speed-up, ours / hand"] = ups["ours"] / ups["hand"]
    for what, values in ratios.items():
        print(f"{what}: median {np.median(values):.3f} ({values.min():.3f} to {values.max():.3f})")


def bench_blocks(folder, count):
    """A job of blocks of one voxel, each computed and found empty: what scheduling and tracking cost."""
    side = round(count ** (1 / 3))
    zero = gpa.NumpyArrayConfig("zero", data=np.broadcast_to(np.uint8(0), (side, side, side)))
    mask = gpa.ThresholdArrayConfig("mask", zero, threshold=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    result = gpa.materialize(
        mask, folder / "out.zarr", chunks=(1, 1, 1), block=(1, 1, 1), progress=False, skip_empty=True
    )
    took = time.perf_counter() - began
    master = resource.getrusage(resource.RUSAGE_SELF)
    print(result)
    print(
        f"{result.done} blocks of {side**3} done: {took:.1f} s, {result.done / took:.0f} a second, of which the master computed "
        f"{master.ru_utime + master.ru_stime:.1f} s; master {before / 1024:.0f} -> {master.ru_maxrss / 1024:.0f} MiB"
    )
    began = time.perf_counter()
    assert (
        gpa.materialize(
            mask, folder / "out.zarr", chunks=(1, 1, 1), block=(1, 1, 1), progress=False, skip_empty=True
        ).before
        == side**3
    )
    print(f"to find that nothing is missing: {time.perf_counter() - began:.2f} s")


def bench_sparse(folder, side):
    made = gpa.create_zarr(
        folder / "in.zarr", "ids", gpa.Roi((0,) * 3, (side,) * 3), (1, 1, 1), "uint64", chunks=(CHUNK,) * 3
    )
    grid = -(-side // CHUNK)
    rng = np.random.default_rng(0)
    present = max(1, grid**3 // 10_000)
    for place in rng.integers(0, grid - 1, (present, 3)).tolist():
        box = tuple(slice(i * CHUNK, (i + 1) * CHUNK) for i in place)
        made[box] = 5
    ids = gpa.ZarrArrayConfig("ids", folder / "in.zarr", "ids")
    masks = gpa.BinarizeArrayConfig("masks", ids, groupings=[("five", [5]), ("any", [])])
    began = time.perf_counter()
    result = gpa.materialize(masks, folder / "out.zarr", skip_empty=True, progress=False)
    took = time.perf_counter() - began
    print(f"{side**3:.2e} voxels, {present} of {grid**3} chunks present: {took:.1f} s")
    print(result)


def bench_memory(folder):
    import json
    import subprocess
    import sys

    found = []
    for size in (256, 1024):
        inner = folder / str(size)
        config = make_labels(inner, size)
        masks = gpa.BinarizeArrayConfig("masks", config, groupings=GROUPS)
        gpa.save_tree([masks], inner / "tree.json")
        code = (
            "import json, resource, sys, gp_arrays as gpa\n"
            "masks = gpa.load_tree(sys.argv[1])['masks']\n"
            "result = gpa.materialize(masks, sys.argv[2], block=(128, 128, 128), progress=False, num_workers=1,\n"
            "    workers=gpa.Workers(timeout=3600))\n"
            "assert result.ok\n"
            "print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code, str(inner / "tree.json"), str(inner / "out.zarr")],
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(ran.stdout) / 1024)
        print(f"{size}^3: peak of a worker {found[-1]:.0f} MiB", flush=True)
    print(f"ratio {found[1] / found[0]:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "large", "job", "blocks", "sparse", "memory"])
    parser.add_argument("--size", type=int, help="of job 1024, of large 384")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=10_000)
    memory = Path("/dev/shm")
    parser.add_argument("--folder", default=memory if memory.is_dir() else None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        match given.what:
            case "small":
                bench_complete(Path(folder), 256, 64, given.rounds)
            case "large":
                bench_complete(Path(folder), given.size or 384, BLOCK, given.rounds)
            case "job":
                bench_job(Path(folder), given.size or 1024, given.rounds)
            case "blocks":
                bench_blocks(Path(folder), given.count)
            case "sparse":
                bench_sparse(Path(folder), given.side)
            case "memory":
                bench_memory(Path(folder))


if __name__ == "__main__":
    main()
