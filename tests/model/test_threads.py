"""Several threads that read one array read the same voxels as one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.evaluate import make_tasks, run
from gp_arrays.model.meta import Region

THREADS = 4
DATA = np.arange(THREADS * 6, dtype=np.uint8).reshape(THREADS, 6)
SCRATCH = np.zeros(6, np.uint8)
#: Every kernel waits here until all threads compute one.
MEETING = threading.Barrier(THREADS)


# abstract, so that it is not registered as an array type
@attrs.frozen(eq=False, repr=False)
class Meeting(gpa.PointwiseConfig):
    """255 - x, computed by all threads at the same time; with ``scratch`` in memory that they share."""

    abstract: ClassVar[bool] = True

    source_array_config: Any = attrs.field(metadata={"gp_arrays_source": True})
    scratch: bool = False

    def infer(self, *sources: Any) -> Any:
        return sources[0]

    def kernel(self, dtype: Any, *sources: Any) -> Any:
        result = SCRATCH.reshape(1, 6) if self.scratch else np.empty((1, 6), np.uint8)
        result[:] = 255 - sources[0]
        MEETING.wait(60)
        return result.copy()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    MEETING.reset()
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def rows(array: Any, pool: ThreadPoolExecutor) -> Any:
    """All rows of an array, each read by another thread."""
    return np.concatenate(list(pool.map(lambda row: array[row : row + 1], range(THREADS))))


def tree(scratch: bool = False) -> Any:
    inverted = Meeting("inverted", gpa.NumpyArrayConfig("raw", data=DATA), scratch)
    return gpa.SumArrayConfig("twice", [inverted, inverted]).array()


def test_threads_that_compute_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    assert np.array_equal(rows(tree(), threads), 2 * (255 - DATA.astype(np.uint16)))


def test_memory_that_threads_share_is_seen(threads: ThreadPoolExecutor) -> None:
    """The test above can fail: here it detects a type that computes in a buffer of its module."""
    assert not np.array_equal(rows(tree(scratch=True), threads), 2 * (255 - DATA.astype(np.uint16)))


def test_the_same_tasks_in_several_threads(threads: ThreadPoolExecutor) -> None:
    array = tree()
    tasks = make_tasks(array.plan, [(array.index, Region((1, 0), (2, 6)))])
    for (voxels,) in threads.map(lambda _: run(tasks), range(THREADS)):
        assert voxels.tolist() == [[498, 496, 494, 492, 490, 488]]
        voxels[...] = 0  # each is the thread's own
