"""An array type whose blocks wait until the test allows them: a job of such blocks lasts exactly as long as a test needs."""

import os
import time
from pathlib import Path

import attrs

from gp_arrays.model.base import PointwiseConfig
from gp_arrays.model.config import SOURCE

#: More blocks than any job of a test has.
ALL = 10**9


@attrs.frozen(eq=False, repr=False)
class GatedArrayConfig(PointwiseConfig):
    """The voxels of its source. The block that is begun as number n (from 0) waits until more than n are allowed."""

    source: object = attrs.field(metadata=SOURCE)
    folder: str = attrs.field(default="")

    def infer(self, source):
        return source

    def kernel(self, dtype, source):
        number = take_number(Path(self.folder))
        while number >= allowed(Path(self.folder)):
            time.sleep(0.02)
        return source.copy()


def take_number(folder):
    """The number of the next block, which no other process gets."""
    number = count_begun(folder)
    while True:
        try:
            os.close(os.open(folder / f"begun-{number}", os.O_CREAT | os.O_EXCL))
            return number
        except FileExistsError:
            number += 1


def count_begun(folder):
    """How many blocks have been begun, those that were begun twice counted twice."""
    return len(list(folder.glob("begun-*")))


def allowed(folder):
    """How many blocks may be computed."""
    return int((folder / "allowed").read_text())


def allow(folder, count=ALL):
    """Let the first ``count`` blocks that are begun be computed, all by default."""
    folder.mkdir(exist_ok=True)
    (folder / "new").write_text(str(count))
    (folder / "new").replace(folder / "allowed")


def gated(source, folder, name="out"):
    """The array ``name`` with the voxels of ``source``, as far as `allow` lets its blocks be computed."""
    return GatedArrayConfig(name, source, folder=str(folder))
