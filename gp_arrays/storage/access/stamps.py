"""Stamps of files: what was decoded from a file is used again as long as the file has the same stamp."""

from __future__ import annotations

import itertools
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import attrs

#: Nanoseconds: a file that was changed more recently may change again and keep its time of change.
RECENT = 100_000_000
#: Seconds for which a remote store is taken to be unchanged.
BELIEVED = 10.0
#: Seconds by which the clock of a server may differ from ours.
CLOCKS = 300.0
#: The number of keys of remote stores that have a stamp.
MOST_KEYS = 2**17


def stamp_on_disk(path: str) -> Hashable:
    """The stamp of a file; None for one that is not there, or was changed just now."""
    try:
        # opening it makes a network's file system look whether it has changed, which asking for its status does not
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(status.st_mode) or time.time_ns() - status.st_mtime_ns < RECENT:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_due(asked: float) -> bool:
    """True if a remote store is to be asked again; ``asked`` is when it was asked last, on the monotonic clock."""
    return time.monotonic() - asked > BELIEVED


@attrs.define
class _Key:
    number: int
    read: float
    asked: float


class RemoteStamps:
    """The stamps of the keys of remote stores: numbers that this process gives them.

    A key is believed to be unchanged for ten seconds. Then its store is asked when it was changed: unless
    that was well before it was read, it has another stamp, and is read anew.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._keys: OrderedDict[str, _Key] = OrderedDict()
        self._lock = threading.Lock()

    def stamp_of(self, url: str, modified: Callable[[], float | None]) -> Hashable:
        """The stamp of a key; ``modified`` asks when it was changed, in seconds, None if its store does not say."""
        with self._lock:
            key = self._keys.get(url)
            if key is None:
                key = self._add(url)
            due = is_due(key.asked)
            if due:
                key.asked = time.monotonic()  # other threads go on with what is kept
        if not due:
            return key.number
        changed = modified()
        if changed is None or changed > key.read - CLOCKS:
            with self._lock:
                key = self._add(url)
        return key.number

    def _add(self, url: str) -> _Key:
        key = self._keys[url] = _Key(next(self._numbers), time.time(), time.monotonic())
        if len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)
        return key

    def forget(self, url: str | None = None) -> None:
        """A key that this process has written has another stamp; without ``url`` all keys have."""
        with self._lock:
            if url is None:
                self._keys.clear()
            else:
                self._keys.pop(url, None)


REMOTE_STAMPS = RemoteStamps()
