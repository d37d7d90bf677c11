"""What a process keeps in memory: decoded chunks of stores and computed tiles, bounded in bytes.

There is one cache, ``CACHE``, for all arrays of a process, and one number of bytes for a process and
all that are forked from it.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, quoted

Voxels = np.ndarray[Any, Any]

#: The environment variable that says how many bytes are kept; 0 keeps nothing.
VARIABLE = "GP_ARRAYS_CACHE_BYTES"
#: The largest part of the memory that is kept by default, and the most bytes.
SHARE, MOST = 1 / 8, 2**31
#: What one read may have of a cache: a larger one would only push out what others left.
ONE_READ = 1 / 2
#: Where Linux says how much memory a container may have.
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: The most processes that share a number of bytes, and the seconds until they are counted again.
PROCESSES, COUNTED = 512, 1.0

_own_bytes: int | None = None
_tree_bytes: int | None = None
_reading_once: ContextVar[bool] = ContextVar("reading_once", default=False)


class Family:
    """The processes that use a cache: this one, its forks, and those that it was forked from.

    Each writes its number into memory that all of them share. There is no lock that a process could
    take to its end: two that write to one place at once find out when they count again.
    """

    def __init__(self) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, 8 * PROCESSES), np.int64)
        self._count, self._counted = 1, -COUNTED

    def count(self) -> int:
        """How many there are, as of a second ago."""
        now = time.monotonic()
        if now - self._counted >= COUNTED:
            self._count, self._counted = self._look(), now
        return self._count

    def count_anew(self) -> int:
        """How many there are now, this process among them."""
        self._counted = -COUNTED
        return self.count()

    def _look(self) -> int:
        this_process, alive = os.getpid(), set()
        # a copy: numpy raises where another process changes an array while it looks for what is not 0
        numbers = self._numbers.copy()
        for slot in np.flatnonzero(numbers):
            number = int(numbers[slot])
            if number == this_process or _is_alive(number):
                alive.add(number)
            else:
                self._numbers[slot] = 0
        if this_process not in alive:
            free = np.flatnonzero(self._numbers == 0)
            if len(free):
                self._numbers[free[this_process % len(free)]] = this_process
        return len(alive | {this_process})


class ArrayCache:
    """Keeps arrays up to a number of bytes; those used last stay.

    Several threads may use it. A process that is forked begins with an empty one, and shares the
    bytes with the process that it was forked from. Arrays in it are read-only.

    Args:
        limit: How many bytes are kept at most; by default ``total_bytes()``.

    >>> cache = ArrayCache(100)
    >>> cache.get("ones", lambda: np.ones(4)).sum(), cache.get("ones", lambda: np.zeros(4)).sum()
    (np.float64(4.0), np.float64(4.0))
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._family = Family()
        self._reset()
        os.register_at_fork(after_in_parent=self._share, after_in_child=self._reset)

    def _share(self) -> None:
        """Leave its part to a process that was forked just now."""
        if self._arrays:
            with contextlib.suppress(ConfigError), self._lock:
                self._shrink(self._total // (self._family.count_anew() + 1))

    def _reset(self) -> None:
        self._family.count_anew()
        self._arrays: OrderedDict[Hashable, Voxels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._computing: dict[Hashable, Future[Voxels]] = {}

    @property
    def limit(self) -> int:
        """How many bytes this process keeps at most: its part of what all processes that share them keep."""
        total = self._total
        return total // self._family.count() if total else 0

    @property
    def _total(self) -> int:
        return total_bytes() if self._limit is None else self._limit

    @property
    def nbytes(self) -> int:
        """How many bytes it keeps now."""
        return self._bytes

    def clear(self) -> None:
        """Drop all arrays."""
        with self._lock:
            self._arrays.clear()
            self._bytes = 0

    def find(self, key: Hashable) -> Voxels | None:
        """The array of a key, or None."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def add(self, key: Hashable, array: Voxels) -> Voxels:
        """Keep an array, which becomes read-only; those not used for longest are dropped."""
        array.flags.writeable = False
        limit = self.limit
        with self._lock:
            if key not in self._arrays and array.nbytes <= limit:
                self._arrays[key] = array
                self._bytes += array.nbytes
            self._shrink(limit)
        return array

    def _shrink(self, limit: int) -> None:
        while self._bytes > limit:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes

    def get(self, key: Hashable, compute: Callable[[], Voxels]) -> Voxels:
        """The array of a key. Where it is not kept it is computed, by one thread while others wait for it."""
        while True:
            with self._lock:
                running = self._computing.get(key)
                if running is None:
                    future = self._computing[key] = Future()
                    break
            with contextlib.suppress(Exception):  # where another thread fails, this one tries
                return running.result()
        try:
            array = self.find(key)
            if array is None:
                array = self.add(key, compute())
            future.set_result(array)
            return array
        except BaseException:
            future.set_exception(ValueError("another thread failed to compute it"))
            raise
        finally:
            with self._lock:
                self._computing.pop(key, None)

    def keeps(self, nbytes: int) -> bool:
        """True if chunks that have so many bytes in all are to be kept: not where each is read once, nor very many."""
        return not _reading_once.get() and 0 < nbytes <= self.limit * ONE_READ


#: What this process keeps.
CACHE = ArrayCache()


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """Chunks that are read meanwhile are not cached: a pass over blocks needs most of them only once.

    >>> with reading_once():
    ...     CACHE.keeps(1)
    False
    """
    token = _reading_once.set(True)
    try:
        yield
    finally:
        _reading_once.reset(token)


def set_cache_bytes(nbytes: int | None) -> None:
    """Set how many bytes of decoded chunks and computed tiles this process and its forks keep at most.

    Args:
        nbytes: 0 keeps nothing. None, as in the beginning: what the environment variable
            ``GP_ARRAYS_CACHE_BYTES`` says, else ``cache_bytes`` of the tree file that was loaded last,
            else an eighth of the memory, at most 2 GiB.

    Raises:
        ConfigError: Not a number of bytes.

    >>> import gp_arrays as gpa
    >>> gpa.set_cache_bytes(2**28)
    >>> gpa.set_cache_bytes(None)
    """
    global _own_bytes
    _require_bytes(nbytes)
    _own_bytes = nbytes
    if not nbytes:
        CACHE.clear()


def set_tree_cache_bytes(nbytes: int | None) -> None:
    """Set what the cache keeps at most where neither ``set_cache_bytes`` nor the environment says it.

    Raises ConfigError for what is not a number of bytes.
    """
    global _tree_bytes
    _require_bytes(nbytes)
    _tree_bytes = nbytes
    if nbytes == 0:
        CACHE.clear()


def _require_bytes(nbytes: int | None) -> None:
    if nbytes is not None and (type(nbytes) is not int or nbytes < 0):
        raise ConfigError("not a number of bytes", found=quoted(nbytes), allowed="0 or more, or None")


def total_bytes() -> int:
    """How many bytes the processes of a family keep together. Raises ConfigError for an environment that says nonsense."""
    if _own_bytes is not None:
        return _own_bytes
    text = os.environ.get(VARIABLE)
    if text is None:
        return min(MOST, int(_memory(MEMORY_LIMITS) * SHARE)) if _tree_bytes is None else _tree_bytes
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ConfigError(f"{VARIABLE} is not a number of bytes", found=quoted(text), allowed="0 or more")
    return int(text)


@functools.cache  # to ask costs a tenth of a millisecond, and each chunk that is added needs it
def _memory(limits: tuple[str, ...]) -> int:
    """The bytes of memory of the machine, or of the container, as files say that have its limits."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        with contextlib.suppress(OSError, ValueError):  # it is not there, or says "max"
            sizes.append(int(Path(path).read_text(encoding="ascii")))
    return min(sizes)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
