"""Folders that change places with hidden ones beside them."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
from pathlib import Path

from ..access.files import writing

#: How the names of hidden folders end: of the one in which a new array is created, and of the replaced array.
NEW, OLD = ".new", ".old"

# of Linux: see its manual page on renameat2
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def remove_leftovers(folder: Path) -> None:
    """Remove what programs that were killed have left beside a folder; where it is gone, what it was is put back."""
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*{NEW}"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*{OLD}"):
        shutil.rmtree(leftover, ignore_errors=True) if folder.exists() else leftover.rename(folder)


def swap_in(new: Path, folder: Path) -> None:
    """Rename a folder; where there is one of that name, the two change places. Raises StoreError."""
    with writing(folder, "cannot create"):
        if folder.exists():
            _exchange(new, folder)
        else:
            new.rename(folder)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders: at once where the system can, else so that a failure leaves the old one."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 and renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) == 0:
        return
    aside = new.with_suffix(OLD)
    try:
        old.rename(aside)
        new.rename(old)
        aside.rename(new)
    except BaseException:
        if old.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(old)
        raise
