"""Workers that are started by a command: its forms, the message if it fails, and what ends it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gated import allow, count_begun
from job_helpers import (
    alive,
    children,
    done_of,
    environment,
    masks_of,
    text_of,
    wait_for,
    wait_for_end_of_run,
    workers_of,
)

import gp_arrays as gpa
from gp_arrays.jobs import master as master_module
from gp_arrays.jobs import processes
from gp_arrays.storage.journal import DONE, LEFT, STARTED, Journal

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's view of processes")

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}

MASTER = """
import sys
import gp_arrays as gpa
from gated import gated

if __name__ == "__main__":
    zeros = gpa.ZarrArrayConfig("zeros", "in.zarr", "zeros")
    gpa.materialize(gated(zeros, sys.argv[2]), "out.zarr", num_workers=2, chunks=(2, 8, 8), block=(2, 8, 8),
                    progress=False, worker_command=sys.argv[1], host="127.0.0.1")
"""


def group_of(state):
    """Process groups of the commands that run: those whose parent is a launcher of the job."""
    launchers = {
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if [processes.__file__, "launch", str(state)] == text_of(path).split("\0")[2:5]
    }
    return [pid for launcher in launchers for pid in children(launcher)]


@pytest.fixture
def master(tmp_path):
    """Starts a job of 32 blocks in a process group of its own.

    Gives its process and its state once two workers wait until the test allows more blocks than the first four.
    """
    (tmp_path / "job.py").write_text(MASTER)
    gpa.create_zarr(tmp_path / "in.zarr", "zeros", gpa.Roi((0, 0, 0), (64, 8, 8)), (1, 1, 1), "uint8")
    state = tmp_path / "out.zarr.gp_arrays/out"
    started = []

    def start(command):
        allow(tmp_path / "gate", 4)
        process = subprocess.Popen(
            [sys.executable, "job.py", command, str(tmp_path / "gate")],
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        # four blocks are done, and each worker has begun one more: none is between two blocks
        wait_for(lambda: process.poll() is not None or count_begun(tmp_path / "gate") == 6)
        assert process.poll() is None, process.communicate()[1]
        return process, state

    yield start
    for process in started:
        process.kill()
        process.communicate()
        wait_for(lambda: not any(map(alive, [*workers_of(state), *group_of(state)])))


@pytest.mark.parametrize(
    "command",
    [
        "cd / && OMP_NUM_THREADS=1 {worker}",
        pytest.param("{worker}; true", marks=pytest.mark.slow),
        pytest.param("if true; then nice {worker}; fi", marks=pytest.mark.slow),
    ],
)
def test_a_worker_command_may_be_any_shell_command(labels, tmp_path, command):
    config, data = labels
    out = tmp_path / "out.zarr"
    result = gpa.materialize(masks_of(config), out, worker_command=command, host="127.0.0.1", **CUT)
    assert result.ok
    assert result.workers_lost == 0
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data == 1).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program {worker}", "exited with code 127: sh: .*no-such-program.*not found"),
        ("echo 'srun: error: no such partition' >&2; false {worker}", "code 1: srun: error: no such partition"),
    ],
)
def test_errors_of_a_worker_command_are_shown(labels, tmp_path, command, message):
    result = gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", worker_command=command, host="127.0.0.1", **CUT
    )
    assert not result.ok
    assert re.search(message, result.stopped)
    assert not any("Traceback" in path.read_text() for path in result.logs.rglob("*.err"))


@pytest.mark.slow
def test_a_worker_command_that_does_not_wait_stops_the_run(labels, tmp_path):
    log = tmp_path / "submitted"
    result = gpa.materialize(
        masks_of(labels[0]),
        tmp_path / "out.zarr",
        worker_command=f"echo one >> {log}; true {{worker}}",
        host="127.0.0.1",
        **CUT,
    )
    assert not result.ok
    assert "workers died one after another" in result.stopped
    assert "the worker command returned before its worker had ended" in result.stopped
    assert "sbatch --wait" in result.stopped
    assert len(log.read_text().split()) <= 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"worker_command": "sh -c 'exec {worker}"}, "worker command; found .*No closing quotation"),
        ({"host": "nohost.invalid"}, "host.*; found 'nohost.invalid'"),
        # an address of documentation (RFC 5737)
        ({"host": "192.0.2.1", "worker_command": "{worker}"}, "host.*; found '192.0.2.1'"),
    ],
)
def test_invalid_worker_commands_and_hosts_are_refused_before_anything_is_written(labels, tmp_path, options, message):
    with pytest.raises(gpa.ConfigError, match=message):
        gpa.materialize(masks_of(labels[0]), tmp_path / "out.zarr", **options, **CUT)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


@pytest.fixture
def launched(tmp_path):
    """Starts the launcher alone."""
    (tmp_path / "run").mkdir()
    (tmp_path / "journals/a").mkdir(parents=True)

    def start(command, timeout=None, host=None, port=9):
        run = {
            "run": "r",
            "pass": "a",
            "command": command,
            "host": host,
            "timeout": timeout,
            "workers": 2,
            "threads": 1,
            "cache_bytes": 0,
        }
        (tmp_path / "run/run.json").write_text(json.dumps(run))
        context = f"hostname=127.0.0.1:port={port}:task_id=a:worker_id=3:logdir=/tmp"
        return subprocess.Popen(
            [sys.executable, "-IS", processes.__file__, "launch", str(tmp_path), str(os.getpid())],
            env={**os.environ, "DAISY_CONTEXT": context},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize(
    ("records", "command", "code", "message"),
    [
        ([], "true {worker}", 1, "returned before its worker had ended"),
        ([STARTED, DONE], "true {worker}", 1, "sbatch --wait"),
        ([STARTED, DONE, LEFT], "true {worker}", 0, ""),
        # what comes after a worker has left is no worker that was lost
        ([LEFT], "exit 3; {worker}", 0, ""),
        ([], "exit 3; {worker}", 3, ""),
    ],
)
def test_the_exit_code_of_a_launcher_tells_whether_its_worker_ended_by_itself(
    launched, tmp_path, records, command, code, message
):
    journal = Journal(tmp_path / "journals/a/r.3")
    for kind in records:
        journal.add(kind, 5)
    process = launched(command)
    assert message in process.communicate(timeout=180)[1]
    assert process.returncode == code


@pytest.mark.slow
def test_a_worker_that_is_stuck_is_ended(launched, tmp_path):
    journal = Journal(tmp_path / "journals/a/r.3")
    journal.add(STARTED, 0)
    process = launched(f"echo $$ > {tmp_path}/pid; kill -STOP $$; {{worker}}", timeout=0.1)
    process.communicate(timeout=180)
    assert process.returncode > 0
    assert not alive(int((tmp_path / "pid").read_text()))


def test_only_this_user_can_read_how_workers_reach_the_scheduler(launched, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = launched("cat {worker}; sleep 100", host="127.0.0.2", port=port)
        path = wait_for(lambda: list((tmp_path / "run").glob("worker-3")) and tmp_path / "run/worker-3")
        context = wait_for(path.read_text)
        assert path.stat().st_mode & 0o777 == 0o600
        words = dict(part.split("=") for part in context.split(":"))
        # it listens for the worker at the host that was named, and nowhere else
        assert words["hostname"] == "127.0.0.2"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(words["port"])))
        with socket.create_connection(("127.0.0.2", int(words["port"]))) as worker:
            daisy, _ = server.accept()
            with daisy:
                worker.sendall(b"question")
                assert daisy.recv(100) == b"question"
                daisy.sendall(b"answer")
                assert worker.recv(100) == b"answer"
        process.terminate()
        process.communicate(timeout=180)


@pytest.mark.slow
def test_a_launcher_that_is_terminated_asks_its_command_to_end(launched, tmp_path):
    script = (
        f"trap 'echo asked > {tmp_path}/asked; exit 9' TERM; echo $$ > {tmp_path}/pid; sleep 100 & wait; {{worker}}"
    )
    process = launched(script)
    command = wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    # a launcher that did not ignore Ctrl-C would end of it, with another exit code
    process.send_signal(signal.SIGINT)
    process.terminate()
    assert process.wait(180) == 9
    process.communicate()
    assert (tmp_path / "asked").read_text() == "asked\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(int(command), 0)


def test_a_frozen_process_of_a_command_that_was_terminated_is_ended(launched, tmp_path):
    process = launched(f"sleep 100 & echo $! > {tmp_path}/pid; kill -STOP $!; kill -TERM $$; {{worker}}")
    process.communicate(timeout=180)
    assert process.returncode == 128 + signal.SIGTERM
    frozen = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(frozen))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["nice {worker}", "sh -c '{worker}; true'"])
def test_after_ctrl_c_in_the_terminal_workers_end_by_themselves(master, tmp_path, command):
    process, state = master(command)
    workers, commands = workers_of(state), group_of(state)
    os.killpg(process.pid, signal.SIGINT)
    wait_for_end_of_run(state)
    allow(tmp_path / "gate")
    _, message = process.communicate(timeout=180)
    assert "of 32 blocks are done" in message
    assert not any(map(alive, [*workers, *commands]))
    # the workers ended by themselves
    logs = [path.read_text() for path in (state / "logs").rglob("*.err")]
    assert not any("KeyboardInterrupt" in log for log in logs)
    written = {int(path.name) for path in (state.parents[1] / "out.zarr/out").glob("*") if path.name.isdigit()}
    assert len(written) >= done_of(state, "out", (32, 1, 1)).sum()


@pytest.mark.slow
def test_worker_commands_end_if_the_main_process_is_killed(master):
    process, state = master("sh -c '{worker}; true'")
    workers, commands = workers_of(state), group_of(state)
    process.kill()
    wait_for(lambda: not any(map(alive, [*workers, *commands])))


@pytest.mark.slow
def test_a_worker_command_that_continues_after_its_worker_is_ended(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(master_module, "LEAVE", 1.0)
    command = f"echo $$ > {tmp_path}/pid; {{worker}}; sleep 3000"
    result = gpa.materialize(
        masks_of(labels[0]), tmp_path / "out.zarr", worker_command=command, host="127.0.0.1", **CUT
    )
    assert result.ok
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_a_run_ends_although_a_launcher_is_frozen(master, tmp_path):
    process, state = master("nice {worker}")
    command, *_ = group_of(state)
    launcher = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(launcher, signal.SIGSTOP)
    allow(tmp_path / "gate")
    assert process.wait(180) == 0
    assert not alive(launcher)
