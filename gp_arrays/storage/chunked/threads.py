"""Threads that decode chunks: no more than the cores that this process may use."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_lock = threading.Lock()
_helpers: ThreadPoolExecutor | None = None


def _forget_helpers() -> None:
    global _lock, _helpers
    _lock, _helpers = threading.Lock(), None


os.register_at_fork(after_in_child=_forget_helpers)


def thread_count() -> int:
    """How many threads decode at once: one in a process beside others that do the same, else one a core."""
    if multiprocessing.parent_process() is not None or "DAISY_CONTEXT" in os.environ:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_each(function: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call a function with each item, in this thread and in helpers that are free. Raises what the first call that fails raises."""
    global _helpers
    left = iter(items)
    failures: list[BaseException] = []

    def work() -> None:
        # to take the next item of a list is one step, which no thread interrupts
        for item in left:
            if failures:
                return
            try:
                function(item)
            except BaseException as error:
                failures.append(error)

    helping: list[Future[None]] = []
    more = min(thread_count(), len(items)) - 1
    if more > 0:
        with _lock:
            if _helpers is None:
                _helpers = ThreadPoolExecutor(thread_count() - 1, "gp_arrays-decoding")
            helping = [_helpers.submit(work) for _ in range(more)]
    work()
    for helper in helping:
        if not helper.cancel():
            helper.result()
    if failures:
        raise failures[0]
