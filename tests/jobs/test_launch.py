"""Workers that are started by a command: in which forms, what is said where it fails, and what ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from job_helpers import alive, environment, masks_of, wait_for, workers_of

import gp_arrays as gpa
from gp_arrays.jobs import launch, watch
from gp_arrays.jobs.master import Workers

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's view of processes")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}

#: Blocks of half a second, from an array type that workers elsewhere can import too.
LAGGING = """
import time, attrs, numpy as np
import gp_arrays as gpa


@attrs.frozen(eq=False, repr=False)
class LaggingArrayConfig(gpa.OnesArrayConfig):
    def compute(self, region, meta, sources, blocks):
        time.sleep(0.5)
        return np.ones(meta.shape_of(region), bool)
"""
MASTER = """
import sys
import gp_arrays as gpa, lagging

if __name__ == "__main__":
    zeros = gpa.ZarrArrayConfig("zeros", "in.zarr", "zeros")
    gpa.materialize(lagging.LaggingArrayConfig("out", zeros), "out.zarr", num_workers=2, chunks=(2, 8, 8),
                    block=(2, 8, 8), progress=False, worker_command=sys.argv[1], host="127.0.0.1")
"""


def group_of(state):
    """Process groups of the commands that run."""
    return [int(path.name) for path in (state / "launchers").glob("*")]


@pytest.fixture
def master(tmp_path):
    """Starts a job of 32 slow blocks in a process group of its own; gives it and its state once workers are at it."""
    (tmp_path / "lagging.py").write_text(LAGGING)
    (tmp_path / "job.py").write_text(MASTER)
    gpa.create_zarr(tmp_path / "in.zarr", "zeros", gpa.Roi((0, 0, 0), (64, 8, 8)), (1, 1, 1), "uint8")
    state = tmp_path / "out.zarr.gp_arrays/out"
    started = []

    def start(command):
        env = environment()
        env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
        process = subprocess.Popen(
            [sys.executable, "job.py", command],
            cwd=tmp_path,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        wait_for(lambda: process.poll() is not None or (marked(state) > 1 and len(workers_of(state)) == 2))
        assert process.poll() is None, process.communicate()[1]
        return process, state

    yield start
    for process in started:
        process.kill()
        process.communicate()
        wait_for(lambda: not any(map(alive, [*workers_of(state), *group_of(state)])))


def marked(state):
    return sum(f.read_bytes().count(1) for f in (state / "tracking").rglob("c/0/0/0") if "done" in f.parts)


@pytest.mark.parametrize(
    "command", ["OMP_NUM_THREADS=1 {worker}", "cd / && {worker}", "{worker}; true", "if true; then nice {worker}; fi"]
)
def test_a_command_is_what_a_shell_takes(labels, tmp_path, command):
    config, data = labels
    out = tmp_path / "out.zarr"
    result = gpa.materialize(masks_of(config), out, worker_command=command, host="127.0.0.1", **CUT)
    assert result.ok
    assert result.workers_lost == 0
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data == 1).astype(np.uint8))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program {worker}", "exited with code 127: sh: .*no-such-program.*not found"),
        ("echo 'srun: error: no such partition' >&2; false {worker}", "code 1: srun: error: no such partition"),
    ],
)
def test_what_a_command_says_is_shown(labels, tmp_path, command, said):
    result = gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", worker_command=command, host="127.0.0.1", **CUT
    )
    assert not result.ok
    assert re.search(said, result.stopped)
    assert not any("Traceback" in path.read_text() for path in result.logs.rglob("*.err"))


@pytest.mark.slow
def test_a_command_that_does_not_wait_is_given_up(labels, tmp_path):
    log = tmp_path / "submitted"
    result = gpa.materialize(
        masks_of(labels[0]),
        tmp_path / "out.zarr",
        worker_command=f"echo one >> {log}; true {{worker}}",
        host="127.0.0.1",
        **CUT,
    )
    assert not result.ok
    assert "7 times a worker was started in vain" in result.stopped
    assert "returned without its worker having connected" in result.stopped
    assert "sbatch --wait" in result.stopped
    assert len(log.read_text().split()) <= 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"worker_command": "sh -c 'exec {worker}"}, "no shell takes the worker command.*No closing quotation"),
        ({"host": "nohost.invalid"}, "the host is not known; found 'nohost.invalid'"),
        ({"host": "nohost.invalid", "worker_command": "{worker}"}, "the host is not known; found 'nohost.invalid'"),
        # an address of documentation (RFC 5737)
        ({"host": "192.0.2.1"}, "the host is not this machine; found '192.0.2.1'"),
    ],
)
def test_what_cannot_start_workers_is_said_before_anything_is_made(labels, tmp_path, options, said):
    with pytest.raises(gpa.ConfigError, match=said):
        gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", **options, **CUT)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


def test_an_address_that_only_others_know_is_told_them(caplog):
    # as behind a translation of addresses, where the master cannot bind it
    Workers(command="srun {worker}", host="192.0.2.1")
    assert "'192.0.2.1' is no address of this machine" in caplog.text


def listening():
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


@pytest.fixture
def launched(tmp_path):
    """Starts the launcher alone, for a worker of a master that listens at a port."""
    for name in ("launchers", "signs"):
        (tmp_path / name).mkdir()

    def start(command, port):
        context = f"hostname=127.0.0.1:port={port}:task_id=pass0:worker_id=3:logdir=/tmp"
        words = [sys.executable, "-IS", launch.__file__, str(tmp_path / "launchers"), str(tmp_path / "signs"), command]
        return subprocess.Popen(
            [*words, str(os.getpid())], env={**os.environ, "DAISY_CONTEXT": context}, stderr=subprocess.PIPE, text=True
        )

    return start


@pytest.mark.parametrize(
    ("sign", "code", "said"),
    [
        (None, 1, "without its worker having connected to 127.0.0.1:"),
        ("+", 1, "before its worker had ended"),
        (".", 0, ""),
    ],
)
def test_what_became_of_a_worker_whose_command_returned(launched, tmp_path, sign, code, said):
    server, port = listening()
    command = "true" if sign is None else f"printf '{sign} 1 host' > {tmp_path}/signs/pass0.3"
    with server:
        process = launched(command, port)
        assert said in process.communicate(timeout=60)[1]
    assert process.returncode == code


def test_a_worker_that_comes_after_the_end_is_none_that_failed(launched):
    server, port = listening()
    server.close()
    began = time.monotonic()
    process = launched("true", port)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert time.monotonic() - began < launch.LATE


def test_a_launcher_that_is_ended_asks_its_command_first(launched, tmp_path):
    server, port = listening()
    script = f"trap 'echo asked > {tmp_path}/asked; exit 9' TERM; sleep 100 & wait"
    with server:
        process = launched(script, port)
        (command,) = wait_for(lambda: list((tmp_path / "launchers").iterdir()))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 9
    process.communicate()
    assert (tmp_path / "asked").read_text() == "asked\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(int(command.name), 0)


def test_what_is_frozen_does_not_outlive_a_command_that_was_ended(launched, tmp_path):
    server, port = listening()
    with server:
        process = launched(f"sleep 100 & echo $! > {tmp_path}/pid; kill -STOP $!; kill -TERM $$", port)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    frozen = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(frozen), 10)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["nice {worker}", "sh -c '{worker}; true'"])
def test_ctrl_c_in_the_terminal_lets_workers_leave(master, command):
    process, state = master(command)
    workers, commands = workers_of(state), group_of(state)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "of 32 blocks are done" in said
    assert not any(map(alive, [*workers, *commands]))
    # blocks at work were written, and nobody was killed
    logs = [path.read_text() for path in (state / "logs").rglob("*.err")]
    assert not any("KeyboardInterrupt" in log for log in logs)
    written = {int(path.name) for path in (state.parents[1] / "out.zarr/out").glob("*") if path.name.isdigit()}
    assert len(written) >= marked(state)


@pytest.mark.slow
def test_commands_end_with_a_master_that_is_killed(master):
    process, state = master("sh -c '{worker}; true'")
    workers, commands = workers_of(state), group_of(state)
    process.kill()
    wait_for(lambda: not any(map(alive, [*workers, *commands])), 20)


@pytest.mark.slow
def test_a_command_that_outlasts_the_run_is_ended(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LEAVE", 1.0)
    result = gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", worker_command="{worker}; sleep 300", host="127.0.0.1", **CUT
    )
    assert result.ok
    assert result.seconds < 120


@pytest.mark.slow
def test_a_frozen_launcher_holds_up_no_run(master):
    process, state = master("nice {worker}")
    command, *_ = group_of(state)
    launcher = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(launcher, signal.SIGSTOP)
    assert process.wait(120) == 0
    assert not alive(launcher)
