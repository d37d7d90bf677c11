"""Counts what a read, a gunpowder request and loading a tree walk through: files, changes of file, calls.

python tests/benchmarks/walks.py
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gunpowder as gp

import gp_arrays as gpa


def walk(run: Callable[[], Any]) -> tuple[int, int, int]:
    """What a call walks through of this library: files, changes from one file to another, calls."""
    home = str(Path(gpa.__file__).parent)
    files: list[str] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(home):
            files.append(frame.f_code.co_filename)

    run()
    sys.setprofile(profile)
    run()
    sys.setprofile(None)
    return len(set(files)), sum(a != b for a, b in itertools.pairwise(files)), len(files)


def walks(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The walks of Resampled(Binarize(Zarr))."""
    roi = gpa.Roi((0,) * 3, (512,) * 3)
    labels = gpa.create_zarr(folder / "s.zarr", "ids", roi, (8,) * 3, "uint64", chunks=(64,) * 3)
    labels[:] = 1
    masks = gpa.BinarizeArrayConfig("masks", labels.config, [("one", [1]), ("any", [])])
    half = gpa.ResampledArrayConfig("half", masks, (1, 1, 1), (2, 2, 2), 0)
    array = half.array()
    yield "array[roi]", walk(lambda: array[roi])
    key = gp.ArrayKey("HALF")
    pipeline = gpa.compile_pipeline({key: half})
    request = gp.BatchRequest({key: gp.ArraySpec(roi=roi)})
    with gp.build(pipeline):
        yield "gunpowder request", walk(lambda: pipeline.request_batch(request))
    gpa.save_tree([half], folder / "tree.toml")
    yield "tree file", walk(lambda: gpa.load_tree(folder / "tree.toml"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for what, (files, changes, calls) in walks(Path(temporary)):
            print(f"{what:20} {files:4} files {changes:5} changes of file {calls:5} calls")
