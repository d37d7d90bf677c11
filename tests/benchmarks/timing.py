"""The one form of a benchmark: functions of this library beside those of a peer, run in turns.

A file ``bench_NAME.py`` has a function ``comparisons(settings)`` that yields a ``Comparison`` for each row.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: How often each side is run, and how often where one takes so many milliseconds.
RUNS, SLOW_RUNS, SLOW = 9, 3, 500


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Args:
        store: A Zarr store with uint8 ``raw`` and uint64 ``labels/neurons``.
        folder: An empty folder for what a benchmark writes, in memory where the machine has such a place.
        short: True if a benchmark is to leave out what takes long.
    """

    store: str
    folder: Path
    short: bool = False


@dataclass(frozen=True)
class Comparison:
    """A row: a function of this library and one of a peer that does the same work.

    Args:
        group: What the row is an example of; the rows of a group become one row of the short table.
        name: What differs from the other rows of the group.
        peer: What it is compared with, such as ``"zarr"``.
        ours, theirs: The functions. If both return arrays, these have to be equal (floats to one part in 10^6).
        bar: The most that the ratio ours / theirs may be.
        mean_bar: The most that the geometric mean of the group's ratios to this peer may be.
        extra: What ours may take beyond that, in the unit of the row.
        prepare: Called before each run of ours; its time does not count.
        runs: How often each is run; by default nine times, three where one takes half a second or more.
        unit: ``"ms"``: the functions are timed. Another: they return a number of this unit, of which less is better.
    """

    group: str
    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    bar: float | None = None
    extra: float = 0
    mean_bar: float | None = None
    prepare: Callable[[], object] | None = None
    runs: int | None = None
    unit: str = "ms"


@dataclass(frozen=True)
class Result:
    """The medians of a comparison."""

    comparison: Comparison
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def holds(self) -> bool | None:
        """True if the bar holds; None if there is none."""
        bar = self.comparison.bar
        return None if bar is None else self.ours <= bar * self.theirs + self.comparison.extra


def measure(comparison: Comparison) -> Result:
    """Run both sides in turns, once before any run counts. Raises AssertionError if their arrays differ."""
    sides = (comparison.ours, comparison.theirs)
    values: list[list[float]] = [[], []]
    runs = comparison.runs or RUNS
    if comparison.unit == "ms":
        (first, ours), (second, theirs) = map(timed, sides)
        if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
            tolerance = 1e-6 if first.dtype.kind == "f" else 0
            np.testing.assert_allclose(first, second, tolerance, err_msg=f"{comparison.group}, {comparison.name}")
        del first, second
        if max(ours, theirs) >= SLOW:
            runs = min(runs, SLOW_RUNS)
    for run in range(runs):
        # the one that comes first changes, as the speed of a machine does
        for index in (0, 1) if run % 2 else (1, 0):
            if index == 0 and comparison.prepare is not None:
                comparison.prepare()
            returned, milliseconds = timed(sides[index])
            values[index].append(milliseconds if comparison.unit == "ms" else returned)
    return Result(comparison, *(statistics.median(side) for side in values))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the milliseconds that it takes."""
    began = time.perf_counter()
    returned = function()
    return returned, (time.perf_counter() - began) * 1e3


def medians(*functions: Callable[[], Any], runs: int = RUNS) -> list[float]:
    """Milliseconds of each, run in turn so that a noisy moment meets all."""
    times = [[timed(function)[1] for function in functions] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


CALL = "import json, pickle, sys; function, args = pickle.load(sys.stdin.buffer); print(json.dumps(function(*args)))"


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """What a function of a module returns in a Python that has run nothing before: a number, or what else JSON has."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        [sys.executable, "-c", CALL],
        input=pickle.dumps((function, args)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])
