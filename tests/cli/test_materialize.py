"""``gp-arrays materialize``: exit codes, and one line for each error."""

import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.cli import materialize, run


@pytest.fixture
def tree(tmp_path):
    array = gpa.create_zarr(tmp_path / "in.zarr", "ids", gpa.Roi((0, 0), (64, 96)), (2, 2), "uint16", chunks=(16, 16))
    array[:] = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48)
    path = tmp_path / "tree.toml"
    path.write_text(
        '[ids]\n__type__ = "ZarrArrayConfig"\nfile_name = "in.zarr"\ndataset = "ids"\n'
        '[big]\n__type__ = "ThresholdArrayConfig"\nsource_array_config = "ids"\nthreshold = 700\n'
    )
    return path


def arguments(tree, *more):
    out = tree.parent / "out.zarr"
    return ["materialize", str(tree), "big", str(out), "--quiet", "--chunks", "16,16", *more]


def expected():
    return (np.arange(32 * 48).reshape(32, 48) > 700).astype(np.uint8)


def test_materialize_writes_the_array(tree, capsys):
    assert run(arguments(tree, "--block", "32,32", "--num-workers", "1")) == 0
    np.testing.assert_array_equal(gpa.open_zarr(tree.parent / "out.zarr", "big")[:], expected())
    assert "6 of 6 blocks done" in capsys.readouterr().out


def test_a_roi_is_enlarged_to_complete_blocks(tree, one_process):
    assert run(arguments(tree, "--block", "32,32", "--roi", "40:44,0:40", "--dataset", "part/big")) == 0
    want = expected()
    want[:16] = 0
    want[16:, 32:] = 0
    np.testing.assert_array_equal(zarr.open(str(tree.parent / "out.zarr"), mode="r")["part/big"][:], want)


def test_the_exit_code_is_1_if_a_block_fails(tree, one_process, capsys):
    chunk = tree.parent / "in.zarr/ids/1/2"
    chunk.write_bytes(b"not a chunk")
    assert run(arguments(tree, "--block", "32,32")) == 1
    out = capsys.readouterr().out
    assert "5 of 6 blocks done, 1 failed" in out
    assert "big [32:64, 64:96]: big > ids: cannot read" in out


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--roi", "0:10"], 1, "the roi does not fit the outputs"),
        (["--roi", "5-5,0:10"], 2, "'5-5,0:10' is not a roi"),
        (["--roi", "0:8,9:5"], 2, "begin must be below end on every axis; '0:8,9:5' has 9:5"),
        (["--memory", "much"], 2, "not a size; found 'much'; allowed: bytes, or such as 2GiB or 500M"),
        (["--memory", "10"], 1, "allowed: 10 B; more than 256 MiB"),
        (["--block-timeout", "0"], 2, "'0' is not a positive number of seconds"),
        (["--block-timeout", "soon"], 2, "'soon' is not a positive number of seconds"),
        (["--chunks", "0,4"], 2, "'0,4' is not a positive number"),
        (["--num-workers", "0"], 2, "num-workers"),
        (["--memory", "1M"], 1, "does not fit into a worker's memory"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(tree, capsys, more, code, says):
    assert run(arguments(tree, *more)) == code
    assert says in capsys.readouterr().err
    assert not (tree.parent / "out.zarr").exists()


@pytest.mark.parametrize("text", ["never", "None", "90"])
def test_the_block_timeout_may_be_never(tree, monkeypatch, text):
    calls = []

    def written(*_, workers, memory, **options):
        calls.append((workers.timeout, memory))
        raise gpa.StoreError("enough")

    monkeypatch.setattr(materialize, "write", written)
    assert run(arguments(tree, "--block-timeout", text, "--memory", "1.5GiB")) == 1
    assert calls == [(90.0 if text == "90" else None, 3 * 2**29)]


def test_an_unknown_name_offers_the_nearest(tree, capsys):
    assert run(["materialize", str(tree), "bog", str(tree.parent / "out.zarr")]) == 1
    error = capsys.readouterr().err
    assert "allowed: big" in error
    assert len(error.splitlines()) == 1


def test_cost_status_check_and_difference_of_several_arrays(tree, one_process, capsys):
    out = tree.parent / "out.zarr"
    command = ["materialize", str(tree), "big", "ids", str(out), "--quiet", "--chunks", "16,16", "--block", "32,32"]
    assert run([*command, "--dry-run"]) == 0
    assert "6 blocks to do" in capsys.readouterr().out
    assert not out.exists()
    assert run(["status", str(out)]) == 1
    assert "no job has written there" in capsys.readouterr().err
    assert run([*command, "--roi", "0:32,0:32"]) == 0
    assert run(["status", str(out)]) == 1
    assert "big, ids: 1 of 6 blocks done, 0 known to be empty, 0 failed, 5 missing" in capsys.readouterr().out
    assert run([*command, "--check", "3"]) == 0
    assert "3 blocks computed again, 0 differ from the stored voxels" in capsys.readouterr().out
    assert run(["diff", f"{out}/ids", str(tree.parent / "in.zarr/ids")]) == 0
    gpa.open_zarr(out, "ids", mode="r+")[3:4, 5:6] = 7
    assert run(["status", str(out), "--check", "100"]) == 1
    assert "6 blocks computed again, 1 differ from the stored voxels" in capsys.readouterr().out
    assert run(["diff", f"{out}/ids", str(tree.parent / "in.zarr/ids")]) == 1
    output = capsys.readouterr().out
    assert "1 of 1536 voxels differ, within [6:8, 10:12]" in output
    assert "first at 6,10: 7 and 149" in output


@pytest.mark.parametrize("path", ["nowhere.zarr/a", "out.zarr"])
def test_diff_refuses_a_path_without_an_array(tree, capsys, path):
    gpa.create_zarr(tree.parent / "out.zarr", "some", gpa.Roi((0,), (4,)), (1,), "uint8")
    assert run(["diff", str(tree.parent / path), str(tree.parent / "in.zarr/ids")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_worker_command_must_contain_the_worker(tree, capsys):
    assert run(arguments(tree, "--worker-command", "srun")) == 1
    assert "the worker command does not start a worker" in capsys.readouterr().err
    assert not (tree.parent / "out.zarr").exists()
