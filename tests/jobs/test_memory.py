"""The memory of a worker."""

import json
import subprocess
import sys

import pytest
from job_helpers import environment

import gp_arrays as gpa

MASTER = """
import json, resource, sys
import gp_arrays as gpa
masks = gpa.load_tree(sys.argv[1])["masks"]
result = gpa.materialize(masks, sys.argv[2], block=(128,) * 3, progress=False, num_workers=1, skip_empty=True,
                         workers=gpa.Workers(timeout=300))
assert result.ok and result.empty == 0, result
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


@pytest.mark.slow
def test_the_memory_of_a_worker_does_not_grow_with_the_volume(tmp_path):
    peaks = []
    for size in (256, 768):
        folder = tmp_path / str(size)
        # absent chunks that give ones: every block is computed and written
        gpa.create_zarr(folder / "in.zarr", "ids", gpa.Roi((0,) * 3, (size,) * 3), (1, 1, 1), "uint64")
        ids = gpa.ZarrArrayConfig("ids", folder / "in.zarr", "ids")
        masks = gpa.BinarizeArrayConfig("masks", ids, groupings=[("one", [1]), ("any", [])], background=7)
        gpa.save_tree([masks], folder / "tree.json")
        command = [sys.executable, "-c", MASTER, str(folder / "tree.json"), str(folder / "out.zarr")]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
        assert ran.returncode == 0, ran.stderr
        peaks.append(json.loads(ran.stdout))
    # 27 times the voxels; what differs is noise of the allocator
    assert peaks[1] < 1.2 * peaks[0]
