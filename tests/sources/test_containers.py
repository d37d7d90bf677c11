"""The laws of ZarrArrayConfig on stores that are not folders of Zarr v2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from oracles.n5_stores import write_n5

import gp_arrays as gpa
from gp_arrays.testing import StoredSourceLaws

RNG = np.random.default_rng(0)


class TestN5Laws(StoredSourceLaws):
    type = gpa.ZarrArrayConfig

    def configs(self, folder: Path) -> Any:
        store = folder / "laws.n5"
        write_n5(store / "raw", RNG.integers(1, 9, (4, 5, 7), "u2"), (2, 3, 3), compression="gzip", absent=[(0, 1, 1)])
        write_n5(store / "masks", RNG.integers(1, 9, (2, 5, 7)).astype("f4"), (1, 3, 4), short=False)
        return [
            gpa.ZarrArrayConfig("raw", store, "raw", voxel_size=(4, 2, 2), offset=(8, -2, 0)),
            gpa.ZarrArrayConfig("masks", store, "masks", voxel_size=(2, 3), offset=(0, 3), axes=["c", "y", "x"]),
        ]

    def fill_of(self, config: Any) -> Any:
        return 0
