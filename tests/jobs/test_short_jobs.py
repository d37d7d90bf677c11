"""Short jobs, which the main process does itself, and jobs that need workers."""

import appended_nodes
import attrs
import numpy as np
import pytest
from job_helpers import done_of, masks_of

import gp_arrays as gpa
from gp_arrays.jobs import run, worker

CUT = {"chunks": (16, 16, 16), "block": (64, 128, 128), "progress": False}


def had_scheduler(result):
    # each worker process has logs of its own there
    return any(path.is_dir() for path in result.logs.iterdir())


def test_a_short_job_starts_no_process(labels, tmp_path):
    config, data = labels
    result = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert (result.ok, result.done, result.workers_lost) == (True, 24, 0)
    assert not had_scheduler(result)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "masks")[0], data == 1)


def test_a_job_that_takes_long_is_continued_by_workers(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "SHORT", 1e-6)
    config, data = labels
    result = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert (result.ok, result.done, result.blocks) == (True, 24, 24)
    assert had_scheduler(result)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "masks")[1], (data == 2) | (data == 4))


def test_a_block_that_fails_is_tried_again_and_reported(labels, tmp_path, capfd):
    config, _ = labels
    damaged = tmp_path / "in.zarr/ids/0/0/0"
    content = damaged.read_bytes()
    damaged.write_bytes(b"no chunk")
    result = gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    assert not had_scheduler(result)
    assert (result.done, len(result.failed)) == (23, 1)
    assert result.failed[0].path == ("masks", "ids")
    # as many tries as the worker processes would have had
    assert (result.logs / "here.err").read_text().count("gp_arrays.errors.StoreError") == 3
    assert capfd.readouterr() == ("", "")
    damaged.write_bytes(content)
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT).before == 23


def test_an_interrupted_short_job_is_resumed(labels, tmp_path, monkeypatch):
    config, data = labels
    process = worker.Worker.process

    def interrupted(self, number):
        if number == 10:
            raise KeyboardInterrupt
        process(self, number)

    monkeypatch.setattr(worker.Worker, "process", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT)
    monkeypatch.setattr(worker.Worker, "process", process)
    state = tmp_path / "out.zarr.gp_arrays/masks"
    assert done_of(state, "masks", (3, 2, 4)).ravel().tolist() == [True] * 10 + [False] * 14
    assert gpa.materialize(masks_of(config), tmp_path / "out.zarr", **CUT).before == 10
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "masks")[0], data == 1)


@attrs.frozen(eq=False, repr=False)
class OwnArrayConfig(gpa.OnesArrayConfig):
    """A type that is not of this package."""


@pytest.mark.parametrize(
    ("options", "root", "here"),
    [
        ({}, "ids", True),
        ({"roi": [[400, 0, -80], [64, 128, 128]]}, "ids", True),
        ({}, "own", False),
        ({}, "function", False),
        ({"workers": gpa.Workers(timeout=60)}, "ids", False),
        ({"workers": gpa.Workers()}, "ids", True),
        ({"worker_command": "nice {worker}", "host": "127.0.0.1"}, "ids", False),
        ({"block": (4096, 4096, 4096)}, "large", False),
    ],
)
def test_which_jobs_the_main_process_may_do_itself(labels, tmp_path, monkeypatch, options, root, here):
    ids, _ = labels
    large = gpa.ZarrArrayConfig("large", tmp_path / "large.zarr", "ids")
    gpa.create_zarr(tmp_path / "large.zarr", "ids", gpa.Roi((0,) * 3, (8192,) * 3), (8, 8, 8), "uint8")
    roots = {
        "ids": masks_of(ids),
        "own": OwnArrayConfig("own", ids),
        "function": gpa.PipelineArrayConfig(
            "function", ids, appended_nodes.add_pooled, tile_size=(128,) * 3, dtype="uint8"
        ),
        "large": masks_of(large),
    }
    answers = []
    monkeypatch.setattr(run, "run_job", lambda *arguments: answers.append(arguments[-1]))
    gpa.materialize(roots[root], tmp_path / "out.zarr", progress=False, **options)
    assert answers == [here]
