"""What a job trusts: records of its workers, modules that the user imported, files that have not changed."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from gated import allow
from job_helpers import alive, done_of, environment, masks_of, text_of, voxels_in, wait_for

import gp_arrays as gpa
from gp_arrays.jobs import check_blocks
from gp_arrays.jobs.state import State

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False, "num_workers": 1}

#: 32 blocks of an array type of a script, which wait until the test allows them.
SCRIPT = """
from pathlib import Path
import attrs, numpy as np
import gp_arrays as gpa
from gated import GatedArrayConfig


@attrs.frozen(eq=False, repr=False)
class ScriptArrayConfig(GatedArrayConfig):
    pass


if __name__ == "__main__":
    ones = gpa.NumpyArrayConfig("ones", data=np.ones((32, 8), np.uint8))
    config = ScriptArrayConfig("out", ones, folder=str(Path("gate").absolute()))
    print(gpa.materialize(config, "out.zarr", num_workers=1, chunks=(1, 8), block=(1, 8), progress=False))
"""


def context_of(state):
    """How a worker of a job reaches daisy, as any process of this user can see."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        if str(state) in text_of(path.parent / "cmdline"):
            for word in text_of(path).split("\0"):
                if word.startswith("DAISY_CONTEXT="):
                    return dict(part.split("=") for part in word.removeprefix("DAISY_CONTEXT=").split(":"))
    return None


def claim(words):
    """Say of five blocks that they are done, without doing anything."""
    from daisy._daisy import BlockStatus, SyncClient

    client = SyncClient("127.0.0.1", int(words["port"]), words["task_id"])
    for _ in range(5):
        block = client.acquire_block()
        block.status = BlockStatus.SUCCESS
        client.release_block(block)
    client.disconnect()


def ask_for_another_task(words):
    """daisy's server ends with a panic."""
    from daisy._daisy import SyncClient

    SyncClient("127.0.0.1", int(words["port"]), "no such task").acquire_block()


@pytest.mark.slow
@pytest.mark.parametrize("rogue", [claim, ask_for_another_task])
def test_a_stranger_who_connects_to_the_port_ends_no_block_and_no_run(tmp_path, rogue):
    (tmp_path / "job.py").write_text(SCRIPT)
    allow(tmp_path / "gate", 4)
    state = tmp_path / "out.zarr.gp_arrays/out"
    with subprocess.Popen(
        [sys.executable, "job.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        words = wait_for(lambda: done_of(state, "out", (32, 1)).sum() > 3 and context_of(state))
        rogue(words)
        allow(tmp_path / "gate")
        out, err = process.communicate(timeout=180)
    assert b"32 of 32 blocks done" in out, err
    assert (voxels_in(tmp_path / "out.zarr", "out") == 1).all()
    # an array type of a script goes by its file, not by pickle
    assert not [path for path in tmp_path.rglob("*") if "pickle" in path.name]


UNGUARDED = SCRIPT.replace('if __name__ == "__main__":', "if True:")


@pytest.mark.slow
def test_a_script_without_a_guard_for_main_gets_an_error_that_names_the_guard(tmp_path):
    (tmp_path / "job.py").write_text(UNGUARDED)
    ran = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert 'the call under if __name__ == "__main__":' in ran.stdout


def test_array_types_of_an_interactive_session_are_refused(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-"],
        input=SCRIPT,
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "a module that workers can import" in ran.stderr
    assert list(tmp_path.iterdir()) == []


TYPE = """
from pathlib import Path
import attrs, gp_arrays as gpa

Path(__file__).with_suffix(".imported").touch()


@attrs.frozen(eq=False, repr=False)
class BesideArrayConfig(gpa.OnesArrayConfig):
    pass
"""


def test_check_imports_modules_that_a_job_names_only_with_trust(tmp_path, monkeypatch, capsys):
    (tmp_path / "beside.py").write_text(TYPE)
    script = (
        "import numpy as np, gp_arrays as gpa, beside\n"
        "zeros = gpa.NumpyArrayConfig('zeros', data=np.zeros((8, 8), np.uint8))\n"
        "assert gpa.materialize(beside.BesideArrayConfig('out', zeros), 'out.zarr', num_workers=1, progress=False).ok\n"
    )
    env = environment()
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, check=True, timeout=180)
    (tmp_path / "beside.imported").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    state = tmp_path / "out.zarr.gp_arrays/out"
    from gp_arrays.cli import run

    with pytest.raises(gpa.TreeError, match="not installed as array types; found beside; allowed: --trust"):
        check_blocks(state, 1)
    assert run(["status", "out.zarr", "--check", "1"]) == 1
    assert "--trust" in capsys.readouterr().err
    assert run(["status", "out.zarr"]) == 0
    assert not (tmp_path / "beside.imported").exists()
    assert run(["status", "out.zarr", "--check", "1", "--trust"]) == 0
    assert "1 blocks computed again, 0 differ from the stored voxels" in capsys.readouterr().out
    assert (tmp_path / "beside.imported").exists()


@pytest.mark.usefixtures("one_process")
def test_a_job_document_of_another_version_is_refused(labels, tmp_path):
    out = tmp_path / "out.zarr"
    assert gpa.materialize(masks_of(labels[0]), out, **CUT).ok
    path = tmp_path / "out.zarr.gp_arrays/masks/job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 7}))
    for call in (lambda: gpa.status(out), lambda: gpa.materialize(masks_of(labels[0]), out, **CUT)):
        with pytest.raises(gpa.StoreError, match="another version of gp_arrays; found .*version 7; allowed: version 1"):
            call()
    assert (path.parent / "README").read_text().startswith("This folder is the memory of a gp_arrays job")


@pytest.mark.usefixtures("one_process")
def test_a_job_whose_files_have_changed_is_resumed_only_with_accept_changed(labels, tmp_path):
    config, data = labels
    np.save(tmp_path / "table.npy", np.array([[1, 10], [2, 20]], np.uint64))
    ids = gpa.RelabelArrayConfig("new", config, table=tmp_path / "table.npy", others="zero")
    out = tmp_path / "out.zarr"
    assert gpa.materialize(ids, out, roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT).ok
    np.save(tmp_path / "table.npy", np.array([[1, 11], [2, 20]], np.uint64))
    with pytest.raises(
        gpa.StoreError, match="the job depends on have changed since .*; found files.new.*accept-changed"
    ):
        gpa.materialize(ids, out, **CUT)
    result = gpa.materialize(ids, out, accept_changed=True, **CUT)
    assert (result.ok, result.before) == (True, 1)
    assert len(json.loads((result.state / "job.json").read_text())["accepted"]) == 1
    voxels = gpa.open_zarr(out, "new")[:]
    want = np.where(data == 1, 11, np.where(data == 2, 20, 0))
    want[:16, :16, :16][data[:16, :16, :16] == 1] = 10
    np.testing.assert_array_equal(voxels, want)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_with_another_state_does_not_replace_an_output_in_use(labels, tmp_path, overwrite):
    config, data = labels
    out = tmp_path / "out.zarr"
    result = gpa.materialize(masks_of(config), out, roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT)
    assert result.ok
    with State(result.state).locked():
        error = "another run is at work on these outputs"
        with pytest.raises(gpa.StoreError, match=error):
            gpa.materialize(masks_of(config), out, state=tmp_path / "other", overwrite=overwrite, **CUT)
    assert not (tmp_path / "other").exists()
    assert gpa.materialize(masks_of(config), out, **CUT).before == 1
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], data == 1)


@pytest.mark.usefixtures("one_process")
def test_only_one_of_two_runs_with_different_states_creates_the_output(labels, tmp_path):
    config, data = labels
    gate = threading.Barrier(2)
    results, errors = [], []

    def master(name):
        gate.wait()
        try:
            results.append(gpa.materialize(masks_of(config), tmp_path / "out.zarr", state=tmp_path / name, **CUT))
        except gpa.StoreError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=master, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(results), len(errors)) == (1, 1)
    assert results[0].ok
    assert "another run is at work" in errors[0] or "is there already" in errors[0]
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "masks")[0], data == 1)


@pytest.mark.parametrize("name", ["s3://bucket/o.zarr", "gs://bucket/o.zarr"])
def test_an_output_at_a_url_without_a_state_is_refused(labels, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(gpa.GpArraysError, match="bucket.*--state"):
        gpa.materialize(masks_of(labels[0]), name, **CUT)
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


CHATTY = """
import itertools, logging, signal, sys
import numpy as np
import gp_arrays as gpa

if __name__ == "__main__":
    before = sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    logging.basicConfig(level=logging.WARNING)
    import threading

    stop = threading.Event()

    def talk():
        for number in itertools.count():
            if stop.wait(0.02):
                break
            logging.getLogger("mine").warning("line %s", number)
            print("err", number, file=sys.stderr)
            same.append((sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before)
        print(number, all(same))

    same = []
    thread = threading.Thread(target=talk)
    thread.start()
    ones = gpa.OnesArrayConfig("out", gpa.NumpyArrayConfig("zeros", data=np.zeros((8, 8), np.uint8)))
    gpa.materialize(ones, "out.zarr", num_workers=1, chunks=(2, 8), block=(2, 8), progress=False)
    stop.set()
    thread.join()
"""


@pytest.mark.slow
def test_a_run_does_not_change_streams_and_signal_handlers(tmp_path):
    (tmp_path / "job.py").write_text(CHATTY)
    ran = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=180
    )
    number, same = ran.stdout.split()
    assert same == "True"
    assert ran.stderr.count("WARNING:mine:line") == int(number)
    assert ran.stderr.count("err ") == int(number)
    assert len(ran.stderr.splitlines()) == 2 * int(number)


@pytest.mark.usefixtures("one_process")
def test_a_job_in_which_every_block_fails_ends(labels, tmp_path):
    config, data = labels
    (tmp_path / "in.zarr/ids").rename(tmp_path / "away")
    (tmp_path / "in.zarr/ids").mkdir()
    for name in (".zarray", ".zattrs"):
        (tmp_path / "in.zarr/ids" / name).write_bytes((tmp_path / "away" / name).read_bytes())
    for path in (tmp_path / "away").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            target = tmp_path / "in.zarr/ids" / path.relative_to(tmp_path / "away")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"broken")
    limits = gpa.Workers(max_failed=5)
    result = gpa.materialize(config, tmp_path / "out.zarr", workers=limits, **CUT)
    assert (result.ok, result.done) == (False, 0)
    assert "failures with no block done between them; the last: ids" in result.stopped
    assert 1 <= len(result.failed) < 24
    for path in (tmp_path / "away").rglob("*"):
        if path.is_file():
            (tmp_path / "in.zarr/ids" / path.relative_to(tmp_path / "away")).write_bytes(path.read_bytes())
    assert gpa.materialize(config, tmp_path / "out.zarr", workers=limits, **CUT).ok
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "ids")[:], data)


@pytest.mark.usefixtures("one_process")
def test_a_dry_run_and_a_run_return_the_same_state_folder(labels, tmp_path):
    for state in (None, tmp_path / "states"):
        out = tmp_path / f"out{state is None}.zarr"
        cost = gpa.materialize(labels[0], out, state=state, dry_run=True, **CUT)
        result = gpa.materialize(labels[0], out, state=state, roi=gpa.Roi((400, 0, -80), (4, 8, 8)), **CUT)
        assert cost.state == result.state
        assert (result.state / "job.json").exists()


@pytest.mark.slow
def test_workers_with_threads_that_do_not_end_are_not_counted_as_lost(tmp_path):
    """As those of nodes that start processes of their own."""
    (tmp_path / "slow_exit.py").write_text(
        "import atexit, threading, time, attrs\n"
        "import gp_arrays as gpa\n"
        "@attrs.frozen(eq=False, repr=False)\n"
        "class SlowExitArrayConfig(gpa.OnesArrayConfig):\n"
        "    def compute(self, region, meta, sources, blocks):\n"
        "        atexit.register(time.sleep, 100)\n"
        "        threading.Thread(target=time.sleep, args=(100,)).start()\n"
        "        return super().compute(region, meta, sources, blocks)\n"
    )
    script = (
        "import numpy as np, gp_arrays as gpa, slow_exit\n"
        "zeros = gpa.NumpyArrayConfig('zeros', data=np.zeros((8, 8), np.uint8))\n"
        "r = gpa.materialize(slow_exit.SlowExitArrayConfig('out', zeros), 'out.zarr', num_workers=1, progress=False)\n"
        "print(r.ok, r.workers_lost)\n"
    )
    env = environment()
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180
    )
    assert ran.stdout == "True 0\n", ran.stderr


SPAWNING = """
import os, sys
from pathlib import Path
import gunpowder as gp
import numpy as np
import gp_arrays as gpa
from gunpowder.nodes.generic_predict import GenericPredict


class Doubled(GenericPredict):
    def __init__(self, source, target, folder):
        super().__init__({"in": source}, {"out": target}, {target: gp.ArraySpec(dtype=np.uint8)}, spawn_subprocess=True)
        self.folder = Path(folder)

    def predict(self, batch, request):
        (self.folder / f"process-{os.getpid()}").touch()
        spec = self.spec[self.outputs["out"]].copy()
        spec.roi = batch[self.inputs["in"]].spec.roi
        batch[self.outputs["out"]] = gp.Array(batch[self.inputs["in"]].data * 2, spec)

    def teardown(self):
        super().teardown()
        (self.folder / f"torn_down-{os.getpid()}").touch()


def add(pipeline, source, target, folder):
    return pipeline + Doubled(source, target, folder)


if __name__ == "__main__":
    zeros = gpa.NumpyArrayConfig("zeros", data=np.ones((8, 8), np.uint8))
    out = gpa.PipelineArrayConfig("out", zeros, add, dtype="uint8", arguments={"folder": sys.argv[1]})
    result = gpa.materialize(out, "out.zarr", num_workers=1, chunks=(4, 8), block=(4, 8), progress=False)
    print(result.ok, result.workers_lost, (gpa.open_zarr("out.zarr", "out")[:] == 2).all())
"""


@pytest.mark.slow
def test_nodes_that_start_processes_are_torn_down_with_their_worker(tmp_path):
    (tmp_path / "job.py").write_text(SPAWNING)
    ran = subprocess.run(
        [sys.executable, "job.py", str(tmp_path)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.stdout == "True 0 True\n", ran.stderr
    assert len(list(tmp_path.glob("torn_down-*"))) == 1
    predicting = [int(path.name.partition("-")[2]) for path in tmp_path.glob("process-*")]
    assert predicting
    assert not any(map(alive, predicting))
