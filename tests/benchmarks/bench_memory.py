"""The most memory that a read takes, beside the bytes that it reads and returns. Each runs in a process of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_reading import DATASETS, FIRST
from cases import Case, cases
from timing import Comparison, Settings, in_new_process

import gp_arrays as gpa

SIZE = 192
TYPES = (
    "source uint8",
    "source uint64",
    "Intensities",
    "Binarize uint64, 5 ids",
    "Resampled down 2, mean",
    "Resampled up 2, linear",
    "Concat of 3",
    "Sum of 2, uint64",
    "MergeInstances of 2",
)


def case_of(store: str, size: int, name: str) -> tuple[Case, gpa.Roi]:
    grey, ids = (gpa.ZarrArrayConfig(name, store, dataset) for name, dataset in DATASETS.items())
    raw = grey.array()
    roi = gpa.Roi(raw.roi.begin + raw.voxel_size * FIRST, raw.voxel_size * size)
    return next(case for case in cases(grey, ids, roi, list(range(1, 9))) if case.name == name), roi


def peak(store: str, name: str) -> float:
    """MiB beyond what the process had before a read that follows a small one. Nothing is kept."""
    gpa.set_cache_bytes(0)
    case, small = case_of(store, 16, name)
    case.config.array()[small]
    case, roi = case_of(store, SIZE, name)
    array = case.config.array()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    array[gpa.Roi(roi.begin, roi.shape * int(case.part * 4) / 4)]
    return memory("VmHWM") - before


def memory(name: str) -> float:
    """What Linux says of the memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def input_and_output(store: str, name: str) -> float:
    """MiB of the voxels that a read takes from its source and of those that it returns."""
    case, roi = case_of(store, SIZE, name)
    array = case.config.array()
    dtype = np.dtype("uint64" if case.source == "ids" else "uint8")
    shape = array[gpa.Roi(roi.begin, roi.shape * int(case.part * 4) / 4)].nbytes
    return float(dtype.itemsize * (SIZE * case.part) ** 3 + shape) / 2**20


def comparisons(settings: Settings) -> Iterator[Comparison]:
    for name in TYPES:
        yield Comparison(
            f"peak memory, {SIZE}^3",
            name,
            "input + output",
            functools.partial(in_new_process, peak, settings.store, name),
            functools.partial(input_and_output, settings.store, name),
            bar=1.5,
            runs=1,
            unit="MiB",
        )
