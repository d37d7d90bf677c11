"""What a job remembers on disk: which blocks are done, what failed, who is at work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from . import job as jobs
from .worker import FAILURES

TRACKING = "tracking"
LOGS = "logs"


def state_folder(root: Path, datasets: Sequence[str], state: Path | None = None) -> Path:
    """Where a job keeps its state: beside the store, by the names of its outputs.

    >>> state_folder(Path("out.zarr"), ["raw", "labels/masks"]).as_posix()
    'out.zarr.gp_arrays/raw+labels.masks'
    """
    base = root.with_name(f"{root.name}.gp_arrays") if state is None else state
    return base / "+".join(name.replace("/", ".") or "root" for name in datasets)


class State:
    """The folder of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        return (self.folder / jobs.JOB).exists()

    def tracking(self, name: str) -> Path:
        """Where daisy marks the blocks of a pass as done."""
        return self.folder / TRACKING / name

    def marks(self, name: str, grid: Sequence[int]) -> np.ndarray[Any, Any]:
        """Which blocks of a pass are done, as a bool grid, read anew."""
        path = self.tracking(name) / "done" / "c" / "/".join("0" for _ in grid)
        try:
            marks: np.ndarray[Any, Any] = np.fromfile(path, np.uint8)
        except FileNotFoundError:
            return np.zeros(tuple(grid), bool)
        if marks.size != np.prod(grid):
            raise StoreError("the block tracking does not fit the job", found=str(path), allowed="overwrite=True")
        return marks.reshape(tuple(grid)).astype(bool)

    def clear_failures(self) -> None:
        for note in (self.folder / FAILURES).glob("*.json"):
            note.unlink()

    def failures(self) -> list[dict[str, Any]]:
        """What workers noted of blocks that failed."""
        return [json.loads(note.read_text()) for note in sorted((self.folder / FAILURES).glob("*.json"))]
