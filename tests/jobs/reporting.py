"""An array type whose workers report what they have in their environment, and one of which is killed."""

import json
import os
import signal
import time
from pathlib import Path

import attrs
import numpy as np

import gp_arrays as gpa

NAMES = ("SLOT", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "BLOSC_NTHREADS")


@attrs.frozen(eq=False, repr=False)
class ReportingArrayConfig(gpa.OnesArrayConfig):
    folder: str = attrs.field(default="")
    victim: str = attrs.field(default="")

    def compute(self, region, meta, sources, blocks):
        seen = {name: os.environ.get(name) for name in NAMES}
        path = Path(self.folder, str(os.getpid()))
        path.write_text(json.dumps(seen))
        killed = Path(self.folder, "killed")
        # both workers are at work before one is killed, and no block is done before there is a third one
        self.wait_for_reports(2)
        if self.victim in seen.values() and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.wait_for_reports(3)
        return np.ones(meta.shape_of(region), bool)

    def wait_for_reports(self, count):
        while sum(path.name.isdigit() for path in Path(self.folder).iterdir()) < count:
            time.sleep(0.02)


def reports(folder):
    return [json.loads(path.read_text()) for path in sorted(Path(folder).iterdir()) if path.name.isdigit()]
