"""The laws of ZarrArrayConfig on stores that are not folders of Zarr v2."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from oracles.n5_stores import write_n5

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws, StoredSourceLaws, write_plain_zarr

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


class TestZipLaws(ArrayTypeLaws):
    type = gpa.ZarrArrayConfig

    def configs(self, folder: Path) -> Any:
        if not (folder / "laws.ozx").exists():
            store, attributes = folder / "packed", {"voxel_size": [2, 3], "offset": [4, -6]}
            data = RNG.integers(1, 9, (2, 5, 7)).astype(">i2")
            write_plain_zarr(store / "two", data[0], (2, 3), attributes, absent=[(0, 1)], fill_value=3)
            write_n5(store / "five", data, (1, 3, 4), compression="gzip")
            shutil.make_archive(str(folder / "laws"), "zip", store)
            (folder / "laws.zip").rename(folder / "laws.ozx")
            shutil.rmtree(store)
        return [
            gpa.ZarrArrayConfig("two", folder / "laws.ozx", "two"),
            gpa.ZarrArrayConfig("five", folder / "laws.ozx", "five", voxel_size=(2, 3), axes=["c", "y", "x"]),
        ]
