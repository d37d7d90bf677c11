"""A process that is killed while it writes leaves each chunk either old or new, never mixed."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import gp_arrays as gpa
from gp_arrays.storage.chunked.engine import FORMATS


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_killed_writer_leaves_each_chunk_old_or_new(tmp_path, zarr_format):
    """Without a codec, so that only the writer can prevent a mixed chunk."""
    roi = gpa.Roi((0, 0), (1024, 2048))
    options = {"chunks": (1024, 1024), "compressor": "none", "zarr_format": zarr_format}
    gpa.create_zarr(tmp_path / "a.zarr", "raw", roi, (1, 1), "uint8", **options)[:] = 1
    code = (
        "import sys, itertools, gp_arrays as gpa\n"
        "array = gpa.open_zarr(sys.argv[1], 'raw', mode='r+')\n"
        "for value in itertools.cycle(range(1, 250)):\n"
        "    array[:] = value\n"
        "    if value == 2: print('writing', flush=True)\n"
    )
    written = set()
    for seed in range(2):
        command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(random.Random(seed).uniform(0.005, 0.05))
            os.kill(child.pid, signal.SIGKILL)
        voxels = gpa.open_zarr(tmp_path / "a.zarr", "raw")[:]
        for chunk in (voxels[:, :1024], voxels[:, 1024:]):
            assert chunk.min() == chunk.max() > 0
        written.add(int(voxels[0, 0]))
    assert written != {1}
