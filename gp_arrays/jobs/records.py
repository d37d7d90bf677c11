"""What workers recorded of blocks, and checkpoints, which make these records survive a power failure.

Records and voxels reach the disk when the system sees fit, and in any order. So from time to
time the journals are read, all that was written is forced to disk, and only then are the blocks
that the journals named kept as safe. A job that goes on under another start of the machine, or on
another machine, believes these alone.

Workers elsewhere write to a server's disk: NFS has a file once it is closed, so before its block
is recorded. A file system that keeps closed files in the memory of the machine that wrote
them loses those with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np

from ..errors import StoreError
from ..storage.journal import (
    BOOT,
    DONE,
    FAILED,
    SAFE,
    STARTED,
    Grid,
    blocks_with,
    read_bitmap,
    read_journals,
    this_start,
)
from .geometry import Pass
from .state import State

#: Seconds between checkpoints: work that may have to be done again.
EVERY = 60.0

logger = logging.getLogger(__name__)


@attrs.define
class Records:
    """What the journals of a run say of one pass, by block: how often it was started, failed, done."""

    started: Grid
    failed: Grid
    done: Grid

    @classmethod
    def read(cls, state: State, pass_: Pass, run: str) -> Records:
        sums = [np.zeros(pass_.count, np.int64) for _ in range(3)]
        for records in read_journals(state.folder, pass_.name, run).values():
            for total, kind in zip(sums, (STARTED, FAILED, DONE), strict=True):
                total += blocks_with(records, kind, pass_.count)
        return cls(*sums)

    def settled(self, retries: int) -> Grid:
        """Which blocks are done, or have been tried as often as they may."""
        settled: Grid = (self.done > 0) | (self.failed > retries)
        return settled


def force_to_disk(path: Path) -> None:
    """Force to disk what was written to the file system of a folder. Raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(folder):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(folder)


class Checkpoints(threading.Thread):
    """Records, every now and then and at the end of a run, which blocks are safely on disk.

    Args:
        state: Of the job.
        passes: Its passes.
        root: The store that is written.
    """

    def __init__(self, state: State, passes: Sequence[Pass], root: Path) -> None:
        super().__init__(daemon=True, name="gp_arrays checkpoints")
        self.state, self.passes, self.root = state, passes, root
        self._over = threading.Event()

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """Checkpoints while a run lasts, and one at its end."""
        self.start()
        try:
            yield
        finally:
            self._over.set()
            self.join()
            self._try(last=True)

    def run(self) -> None:
        while not self._over.wait(EVERY):
            self._try()

    def _try(self, last: bool = False) -> None:
        try:
            self.take(last)
        except (OSError, StoreError) as error:
            logger.warning("checkpoint failed, a power failure now would lose blocks that are done: %s", error)

    def take(self, last: bool = False) -> None:
        """Force to disk what is written, and keep what was recorded before. Raises OSError, StoreError.

        The last one of a run also removes the journals.
        """
        done = {pass_.name: self.state.done(pass_) for pass_ in self.passes}
        force_to_disk(self.root)
        for pass_ in self.passes:
            if last:
                self.state.fold(pass_, done[pass_.name])
            else:
                self.state.keep(SAFE, pass_.name, done[pass_.name], durable=True)


def recover(state: State, passes: Sequence[Pass]) -> int:
    """Forget blocks whose voxels may never have reached the disk.

    Nothing is forgotten under the start of the machine that the last run had.

    Returns:
        How many.
    """
    try:
        before = (state.folder / BOOT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    if before == this_start():
        return 0
    lost = 0
    for pass_ in passes:
        safe = read_bitmap(state.folder, SAFE, pass_.name, pass_.grid)
        recorded = safe.ravel().copy()
        for records in read_journals(state.folder, pass_.name).values():
            recorded |= blocks_with(records, DONE, recorded.size) > 0
        lost += int(recorded.sum()) - int(safe.sum())
        state.fold(pass_, safe)
    if lost > 0:
        logger.warning("%s blocks may not have reached the disk before the machine stopped: they are done again", lost)
    return lost
