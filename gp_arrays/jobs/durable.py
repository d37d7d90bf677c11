"""What a machine that goes down takes with it: blocks marked as done whose voxels were not on disk yet.

Marks and voxels reach the disk when the system sees fit, and in any order. So from time to
time what is marked is read, all that was written is forced to disk, and only then are those marks
kept as safe. A job that goes on under another start of the machine, or on another, believes
these alone.

Workers elsewhere write to a server's disk: NFS has a file once it is closed, so before its block
is marked. A file system that keeps closed files in the memory of the machine that wrote
them loses those with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import StoreError
from ..storage.files import replace_file
from .geometry import Pass
from .state import State

#: Seconds of work that may have to be done again.
EVERY = 60.0

BOOT = "boot"
SAFE = "safe"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

logger = logging.getLogger(__name__)


def this_start() -> str | None:
    """Names this machine and this start of it; None where the system does not say."""
    try:
        return f"{socket.gethostname()} {BOOT_ID.read_text(encoding='ascii').strip()}"
    except OSError:
        return None


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
    """Keeps, every now and then and at the end of a run, which blocks are done for sure.

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
    def kept(self) -> Iterator[None]:
        """Checkpoints while a run lasts, and one at its end. Raises StoreError."""
        start = this_start()
        if start is not None:
            replace_file(self.state.folder / BOOT, start, durable=True)
        self.start()
        try:
            yield
        finally:
            self._over.set()
            self.join()
            self._try()

    def run(self) -> None:
        while not self._over.wait(EVERY):
            self._try()

    def _try(self) -> None:
        try:
            self.take()
        except OSError as error:
            logger.warning("which blocks are done could not be made safe against a power failure: %s", error)

    def take(self) -> None:
        """Force to disk what is written, and keep what was marked before. Raises OSError."""
        marks = {made.name: self.state.done(made.name, made.grid) for made in self.passes}
        force_to_disk(self.root)
        for name, done in marks.items():
            self.state.keep(SAFE, name, done, durable=True)


def recover(state: State, passes: Sequence[Pass]) -> int:
    """Take back marks that may stand for voxels which never reached the disk.

    Nothing is taken back under the start of the machine that the last run had.

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
    for made in passes:
        with contextlib.suppress(StoreError):
            # tracking that is damaged itself is made anew
            lost += int(state.done(made.name, made.grid).sum())
        safe = state.kept(SAFE, made.name, made.grid)
        lost -= int(safe.sum())
        state.mark(made.name, safe)
    if lost > 0:
        logger.warning("%s blocks may not have reached the disk before the machine stopped: they are done again", lost)
    return lost
