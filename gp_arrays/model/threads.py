"""Threads that decode chunks, no more than the cores that this process may use, and threads that wait for remote stores."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

#: Requests of one read to a remote store at the same time.
REQUESTS = 16

_lock = threading.Lock()
_helpers: dict[str, ThreadPoolExecutor] = {}


def _forget_helpers() -> None:
    global _lock, _helpers
    _lock, _helpers = threading.Lock(), {}


os.register_at_fork(after_in_child=_forget_helpers)


if sys.version_info >= (3, 12):
    cached_property = functools.cached_property
else:

    class cached_property(functools.cached_property[T]):
        """``functools.cached_property`` without its lock, for which a process that is forked meanwhile waits forever.

        Two threads may compute a value twice, as on later Pythons.
        """

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value


def thread_count() -> int:
    """How many threads decode at once: one in a process beside others that do the same, else one a core."""
    if multiprocessing.parent_process() is not None or "DAISY_CONTEXT" in os.environ:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_each(function: Callable[[Any], None], items: Sequence[Any], remote: bool = False) -> None:
    """Call a function with each item, in this thread and in helpers that are free. Raises what the first call that fails raises.

    Args:
        function: What is called, by several threads at once.
        items: What it is called with.
        remote: True if it waits for a remote store: then there are more helpers than cores.
    """
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
    most = REQUESTS if remote else thread_count()
    more = min(most, len(items)) - 1
    if more > 0:
        name = "gp_arrays-requests" if remote else "gp_arrays-decoding"
        with _lock:
            if name not in _helpers:
                _helpers[name] = ThreadPoolExecutor(most - 1, name)
            helping = [_helpers[name].submit(work) for _ in range(more)]
    work()
    for helper in helping:
        if not helper.cancel():
            helper.result()
    if failures:
        raise failures[0]
