"""A run as others see it while it is at work: where it listens, and what ``status`` says."""

import subprocess
import sys
from pathlib import Path

import pytest
from job_helpers import environment, wait_for

from gp_arrays.cli import run

SCRIPT = """
import sys, time
import attrs, numpy as np
import gp_arrays as gpa


@attrs.frozen(eq=False, repr=False)
class LaggingArrayConfig(gpa.OnesArrayConfig):
    def compute(self, region, meta, sources, blocks):
        time.sleep(0.5)
        return np.ones(meta.shape_of(region), bool)


if __name__ == "__main__":
    zeros = gpa.NumpyArrayConfig("zeros", data=np.zeros((64, 8, 8), np.uint8))
    out = LaggingArrayConfig("out", zeros)
    gpa.materialize(out, sys.argv[1], num_workers=2, chunks=(2, 8, 8), block=(2, 8, 8), progress=False)
"""


def listening(pid):
    """Addresses (hexadecimal, as the kernel shows them) that a process listens at."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                found.append(columns[1].split(":")[0])
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's view of processes")
def test_a_run_listens_to_this_machine_alone_and_tells_how_far_it_is(tmp_path, capsys):
    (tmp_path / "job.py").write_text(SCRIPT)
    out = tmp_path / "out.zarr"
    with subprocess.Popen([sys.executable, "job.py", str(out)], cwd=tmp_path, env=environment()) as process:
        try:
            tracking = tmp_path / "out.zarr.gp_arrays" / "out" / "tracking"
            wait_for(
                lambda: (
                    process.poll() is not None or any(f.read_bytes().strip(b"\0") for f in tracking.rglob("c/0/0/0"))
                )
            )
            assert process.poll() is None
            addresses = listening(process.pid)
            code = run(["status", str(out)])
        finally:
            process.kill()
    assert addresses
    assert set(addresses) == {"0100007F"}  # 127.0.0.1
    said = capsys.readouterr().out
    assert code == 1
    assert "of 32 blocks" in said
