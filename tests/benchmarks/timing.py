"""Medians of functions that are run in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

RUNS = 9


def medians(*functions: Callable[[], Any], runs: int = RUNS) -> list[float]:
    """Milliseconds of each, run in turn so that a noisy moment meets all."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(runs):
        for spent, function in zip(times, functions, strict=True):
            began = time.perf_counter()
            function()
            spent.append((time.perf_counter() - began) * 1e3)
    return [statistics.median(spent) for spent in times]
