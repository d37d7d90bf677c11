"""A run that is working: the addresses at which it listens, its progress, and signals that stop it."""

import fcntl
import itertools
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from gated import allow
from job_helpers import alive, children, done_of, environment, text_of, wait_for, wait_for_end_of_run, workers_of

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.jobs.geometry import Output, Pass
from gp_arrays.jobs.schedule import voxels_of

SCRIPT = """
import sys
import numpy as np
import gp_arrays as gpa
from gated import gated

if __name__ == "__main__":
    zeros = gpa.NumpyArrayConfig("zeros", data=np.zeros((64, 8, 8), np.uint8))
    out = gated(zeros, sys.argv[2])
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
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                addresses.append(columns[1].split(":")[0])
    return addresses


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's view of processes")
def test_a_run_listens_only_to_this_machine_and_status_shows_its_progress(tmp_path, capsys):
    (tmp_path / "job.py").write_text(SCRIPT)
    out, gate = tmp_path / "out.zarr", tmp_path / "gate"
    allow(gate, 4)
    command = [sys.executable, "job.py", str(out), str(gate)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment()) as process:
        try:
            state = tmp_path / "out.zarr.gp_arrays/out"
            wait_for(lambda: process.poll() is not None or done_of(state, "out", (32, 1, 1)).any())
            assert process.poll() is None
            addresses = [address for pid in (process.pid, *children(process.pid)) for address in listening(pid)]
            commands = [text_of(path) for path in Path("/proc").glob("[0-9]*/cmdline") if str(state) in text_of(path)]
            code = run(["status", str(out)])
        finally:
            process.kill()
    assert addresses
    assert set(addresses) == {"0100007F"}  # 127.0.0.1
    output = capsys.readouterr().out
    assert code == 1
    assert "of 32 blocks" in output
    # neither the port nor the run can be seen by others
    run_id = next((state / "logs").iterdir()).name.rpartition("-")[2]
    assert commands
    assert not any(run_id in words or "port" in words for words in commands)


COMMAND = """
import gated
from gp_arrays.cli import main

main(["materialize", "tree.toml", "out", "out.zarr", "--chunks", "2,8,8", "--block", "2,8,8", "--quiet"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_sigterm_stops_a_command_as_ctrl_c_does(tmp_path, twice):
    allow(tmp_path / "gate", 4)
    (tmp_path / "command.py").write_text(COMMAND)
    gpa.create_zarr(tmp_path / "in.zarr", "zeros", gpa.Roi((0, 0, 0), (64, 8, 8)), (1, 1, 1), "uint8")
    (tmp_path / "tree.toml").write_text(
        '[zeros]\n__type__ = "ZarrArrayConfig"\nfile_name = "in.zarr"\ndataset = "zeros"\n'
        f'[out]\n__type__ = "GatedArrayConfig"\nsource = "zeros"\nfolder = "{tmp_path / "gate"}"\n'
    )
    state = tmp_path / "out.zarr.gp_arrays/out"
    with subprocess.Popen(
        [sys.executable, "command.py"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(lambda: done_of(state, "out", (32, 1, 1)).any())
            workers = workers_of(state)
            process.terminate()
            if twice:
                process.terminate()
            wait_for_end_of_run(state)
            allow(tmp_path / "gate")
            _, errors = process.communicate(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 143
    assert "of 32 blocks are done" in errors
    assert "Traceback" not in errors
    assert not any(map(alive, workers))
    assert 0 < json.loads((state / "summary.json").read_text())["done"] < 32


TERMINATED = """
import os, signal, sys
import attrs, numpy as np
import gp_arrays as gpa


@attrs.frozen(eq=False, repr=False)
class SignallingArrayConfig(gpa.OnesArrayConfig):
    # the first block sends SIGTERM to this process
    process: int = attrs.field(default=0)

    def compute(self, region, meta, sources, blocks):
        if not any(region.begin) and not os.path.exists("sent"):
            open("sent", "x").close()
            os.kill(self.process, signal.SIGTERM)
        return np.ones(meta.shape_of(region), bool)


if __name__ == "__main__":
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    zeros = gpa.NumpyArrayConfig("zeros", data=np.zeros((8, 8), np.uint8))
    ones = SignallingArrayConfig("out", zeros, process=os.getpid())
    result = gpa.materialize(ones, sys.argv[1], num_workers=1, chunks=(2, 8), block=(2, 8), progress=False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gpa.materialize(ones, sys.argv[1], num_workers=1, chunks=(2, 8), block=(2, 8), progress=False, overwrite=True)
    print(result.ok, len(received), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.slow
def test_a_signal_handler_of_the_program_stays_in_use_during_a_run(tmp_path):
    (tmp_path / "job.py").write_text(TERMINATED)
    ran = subprocess.run(
        [sys.executable, "job.py", str(tmp_path / "out.zarr")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.stdout == "True 1 True\n", ran.stderr


TWO = """
import sys, threading, time
import attrs, numpy as np
import gp_arrays as gpa


@attrs.frozen(eq=False, repr=False)
class LaggingArrayConfig(gpa.OnesArrayConfig):
    def compute(self, region, meta, sources, blocks):
        time.sleep(0.2)
        return np.ones(meta.shape_of(region), bool)


def job(name, count):
    zeros = gpa.NumpyArrayConfig("zeros", data=np.zeros((2 * count, 8), np.uint8))
    result = gpa.materialize(LaggingArrayConfig(name, zeros), name + ".zarr", num_workers=1, chunks=(2, 8), block=(2, 8))
    print(result.ok)


if __name__ == "__main__":
    screen = sys.stderr
    threads = [threading.Thread(target=job, args=("short", 3)), threading.Thread(target=job, args=("long", 24))]
    threads[0].start()
    time.sleep(0.5)
    threads[1].start()
    for thread in threads:
        thread.join()
    print(sys.stderr is screen)
"""


@pytest.mark.slow
def test_two_runs_in_threads_both_show_their_progress(tmp_path):
    (tmp_path / "job.py").write_text(TWO)
    ran = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=180
    )
    assert ran.stdout == "True\nTrue\nTrue\n", ran.stderr
    assert "3/3" in ran.stderr
    assert "24/24" in ran.stderr
    assert "WARN" not in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("width", [0, 120])
def test_the_progress_bar_is_shown_on_a_terminal_without_a_width(tmp_path, width):
    gpa.create_zarr(tmp_path / "in.zarr", "d", gpa.Roi((0, 0), (8, 8)), (1, 1), "uint8")
    gpa.save_tree([gpa.ZarrArrayConfig("d", tmp_path / "in.zarr", "d")], tmp_path / "tree.json")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, width, 0, 0))
    command = [sys.executable, "-m", "gp_arrays", "materialize", "tree.json", "d", "out.zarr", "--num-workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        output = b""
        try:
            while read := os.read(ours, 1 << 16):
                output += read
        except OSError:
            # the other end of a terminal is closed
            pass
        os.close(ours)
    assert process.returncode == 0, output
    bars = [line for line in output.decode().replace("\n", "\r").split("\r") if "1/1" in line]
    assert bars
    assert max(map(len, bars)) <= (width or 80)


def test_only_existing_voxels_of_blocks_at_the_edge_are_counted():
    def output(begin, shape, voxel_size, nonspatial=None):
        zeros = np.zeros((*(nonspatial or ()), *shape), np.uint8)
        axes = ("c", "y", "x")[-zeros.ndim :]
        array = gpa.NumpyArrayConfig("a", data=zeros, voxel_size=voxel_size, offset=begin, axes=axes)
        return Output("a", array.array().meta, (1, 1))

    outputs = (output((4, 6), (7, 11), (2, 3)), output((12, 0), (5, 9), (4, 6), (3,)))
    pass_ = Pass("p", outputs, (0, 0), (12, 18), (3, 4))
    rng = np.random.default_rng(1)
    for blocks in (np.ones(pass_.grid, bool), rng.random(pass_.grid) < 0.5, np.zeros(pass_.grid, bool)):
        one_by_one = 0
        for position in itertools.product(*map(range, pass_.grid)):
            if blocks[position]:
                one_by_one += sum(np.prod(o.meta.shape_of(part)) for o, part in pass_.parts_in(pass_.region(position)))
        assert voxels_of(pass_, blocks) == one_by_one
    assert voxels_of(pass_, np.ones(pass_.grid, bool)) == 7 * 11 + 3 * 5 * 9
