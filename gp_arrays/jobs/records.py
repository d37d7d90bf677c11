"""What workers have recorded of blocks, and checkpoints: blocks that are done survive a power failure.

The system writes records and voxels to the disk at any time and in any order. So from time to time the main process
reads the journals, forces all written data to the disk, and only then saves the blocks in the journals as safe. After
a restart of the machine, or on another machine, a resumed job relies on the safe blocks alone.

Workers on other machines write to the disk of a server. NFS sends a file to the server when it is closed, which is
before its block is recorded. On file systems that keep closed files in the memory of the machine that wrote them, these
files are lost if that machine stops.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np

from ..errors import StoreError
from ..storage.access.remote import StorePath
from ..storage.journal import (
    BOOT,
    DONE,
    FAILED,
    RECORDS,
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

logger = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Records:
    """What the workers of a run have recorded of one pass.

    Attributes:
        started, failed, done: How often each block was started, failed or done.
        last: The kind of the last record of each journal, by the name of the journal; 0 if it has no records.
    """

    started: Grid
    failed: Grid
    done: Grid
    last: Mapping[str, int]

    @classmethod
    def read(cls, state: State, pass_: Pass, run: str) -> Records:
        """Read the journals of a pass whose names begin with the id of a run."""
        journals = read_journals(state.folder, pass_.name, run)
        all_records = np.concatenate([np.zeros(0, RECORDS), *journals.values()])
        return cls(
            blocks_with(all_records, STARTED, pass_.count),
            blocks_with(all_records, FAILED, pass_.count),
            blocks_with(all_records, DONE, pass_.count),
            {name: int(records["kind"][-1]) if len(records) else 0 for name, records in journals.items()},
        )

    def settled(self, retries: int) -> Grid:
        """Which blocks are done, or have failed as often as they may."""
        settled: Grid = (self.done > 0) | (self.failed > retries)
        return settled


def force_to_disk(path: Path) -> None:
    """Force all data that was written to the file system of a folder to the disk. Raises OSError."""
    folder = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs"):
            os.sync()
        elif libc.syncfs(folder):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(folder)


def take_checkpoint(state: State, passes: Sequence[Pass], root: StorePath, last: bool = False) -> None:
    """Force written data to the disk, then save which blocks had been recorded as done before.

    The last checkpoint of a run also removes the journals. If the disk is full, a warning is logged.
    """
    try:
        done = {pass_.name: state.done(pass_) for pass_ in passes}
        if isinstance(root, Path):
            force_to_disk(root)
        for pass_ in passes:
            if last:
                state.replace_journals(pass_, done[pass_.name])
            else:
                state.save_bitmap(SAFE, pass_.name, done[pass_.name], durable=True)
    except (OSError, StoreError) as error:
        logger.warning("the checkpoint failed, so a power failure now would lose blocks that are done: %s", error)


def recover(state: State, passes: Sequence[Pass]) -> int:
    """Forget blocks whose voxels may not have reached the disk because the machine was restarted.

    Returns:
        How many blocks are forgotten.
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
        journals = read_journals(state.folder, pass_.name).values()
        recorded = sum((blocks_with(records, DONE, pass_.count) for records in journals), safe.ravel().astype(np.int64))
        lost += int((recorded > 0).sum()) - int(safe.sum())
        state.replace_journals(pass_, safe)
    if lost:
        logger.warning("%s blocks may not have reached the disk before the machine stopped: they are done again", lost)
    return lost
