"""What the journals of a run say of the blocks of a pass."""

from __future__ import annotations

import attrs
import numpy as np

from ..storage.journal import DONE, FAILED, STARTED, Grid, blocks_with, read_journals
from .geometry import Pass
from .state import State


@attrs.define
class Records:
    """What the journals of a run say of one pass, by block: how often it was started, failed, done."""

    started: Grid
    failed: Grid
    done: Grid

    @classmethod
    def read(cls, state: State, made: Pass, run: str) -> Records:
        sums = [np.zeros(made.count, np.int64) for _ in range(3)]
        for records in read_journals(state.folder, made.name, run).values():
            for total, kind in zip(sums, (STARTED, FAILED, DONE), strict=True):
                total += blocks_with(records, kind, made.count)
        return cls(*sums)

    def settled(self, retries: int) -> Grid:
        """Which blocks are done, or have been tried as often as they may."""
        settled: Grid = (self.done > 0) | (self.failed > retries)
        return settled
