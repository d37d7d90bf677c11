"""The most memory that a read takes, beside the bytes that it reads and returns. Each runs in a process of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from cases import Case, stored_cases
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
    return next((case, region) for case, region in stored_cases(store, size) if case.name == name)


def peak(store: str, name: str) -> float:
    """MiB beyond what the process had before a read that follows a small one. Nothing is kept."""
    gpa.set_cache_bytes(0)
    case, small = case_of(store, 16, name)
    case.config.array()[small]
    case, region = case_of(store, SIZE, name)
    array = case.config.array()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    array[region]
    return memory("VmHWM") - before


def memory(name: str) -> float:
    """What Linux says of the memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def input_and_output(store: str, name: str) -> float:
    """MiB of the voxels that a read takes from its source and of those that it returns."""
    case, region = case_of(store, SIZE, name)
    itemsize = 8 if case.source == "ids" else 1
    return float(itemsize * (SIZE * case.part) ** 3 + case.config.array()[region].nbytes) / 2**20


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
