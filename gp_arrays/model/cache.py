"""A bounded memory of arrays that are expensive to compute, one for each process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..errors import ConfigError, quoted

Voxels = np.ndarray[Any, Any]

#: The environment variable that says how many bytes are kept; 0 keeps nothing.
VARIABLE = "GP_ARRAYS_CACHE_BYTES"
#: The largest part of the machine's memory that is kept by default, and the most bytes.
SHARE, MOST = 1 / 16, 2**30


class ArrayCache:
    """Keeps arrays up to a number of bytes; those used last stay.

    Several threads may use it. A process that is forked begins with an empty one. Arrays in it
    are read-only.

    >>> cache = ArrayCache(100)
    >>> cache.get("ones", lambda: np.ones(4)).sum(), cache.get("ones", lambda: np.zeros(4)).sum()
    (np.float64(4.0), np.float64(4.0))
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._arrays: OrderedDict[Hashable, Voxels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._computing: dict[Hashable, threading.Lock] = {}

    @property
    def limit(self) -> int:
        """How many bytes are kept at most."""
        return default_bytes() if self._limit is None else self._limit

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
                while self._bytes > limit:
                    self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array

    def get(self, key: Hashable, compute: Callable[[], Voxels]) -> Voxels:
        """The array of a key. Where it is not kept it is computed, by one thread while others wait for it."""
        with self._lock:
            computing = self._computing.setdefault(key, threading.Lock())
        with computing:
            array = self.find(key)
            if array is None:
                array = self.add(key, compute())
        with self._lock:
            self._computing.pop(key, None)
        return array


def default_bytes() -> int:
    """How many bytes a cache keeps: what the environment says, else a share of the memory. Raises ConfigError."""
    text = os.environ.get(VARIABLE)
    if text is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min(MOST, int(memory * SHARE))
    if not text.strip().isdigit():
        raise ConfigError(f"{VARIABLE} is not a number of bytes", found=quoted(text), allowed="0 or more")
    return int(text)
