"""The command line: its output, and its exit codes 0, 1 (an error in the data) and 2 (a wrong command)."""

import json
import shlex
import signal
import subprocess
import urllib.request

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.cli import COMMANDS, run


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    roi = gpa.Roi((100, 0), (16, 32))
    labels = gpa.create_zarr("a.zarr", "labels", roi, (2, 4), "uint64", chunks=(4, 4))
    labels[0:4, 0:4] = [[1, 2, 3, 4]] * 4  # the other chunks stay unwritten
    config = gpa.ZarrArrayConfig("labels", tmp_path / "a.zarr", "labels")
    masks = gpa.BinarizeArrayConfig("masks", config, [("two", [2]), ("any", [])])
    gpa.save_tree([gpa.LogicalOrArrayConfig("or", masks), gpa.OnesArrayConfig("ones", config)], "tree.toml")
    return tmp_path / "tree.toml"


def call(capsys, *args):
    code = run([str(arg) for arg in args])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_info_shows_the_type_shape_and_geometry_of_arrays(tree, capsys):
    code, out, err = call(capsys, "info", tree)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == (
        "labels: ZarrArrayConfig, uint64[8, 8] y,x, roi [100:116, 0:32], voxel size (2, 4) nm, not interpolatable"
    )
    assert "masks: BinarizeArrayConfig, uint8[2, 8, 8] c,y,x" in out
    assert "channels two, any" in out
    assert call(capsys, "info", tree, "ones")[1].splitlines()[1:] == [
        "  ones > labels: metadata of funlib.persistence or DaCapo"
    ]


def test_info_continues_after_an_array_that_fails(tree, capsys, tmp_path):
    (tmp_path / "bad.json").write_text(
        json.dumps(
            {
                "bad": {"__type__": "ZarrArrayConfig", "file_name": "a.zarr", "dataset": "lables"},
                "d": {"__type__": "DummyArrayConfig"},
            }
        )
    )
    code, out, _ = call(capsys, "info", "bad.json")
    assert code == 1
    assert out.startswith("bad: error: no such dataset; found 'lables'")
    assert "allowed: labels" in out
    assert "d: DummyArrayConfig, float64[100, 50, 50]" in out


def test_verify_names_the_array_that_cannot_be_read(tree, capsys):
    code, out, _ = call(capsys, "verify", tree)
    assert code == 0
    assert out == "labels: ok\nmasks: ok\nor: ok\nones: ok\n"
    for file in (tree.parent / "a.zarr" / "labels").glob(".z*"):
        file.unlink()
    code, out, _ = call(capsys, "verify", tree, "or")
    assert code == 1
    assert out.startswith("or: masks > labels: no such dataset")
    code, out, _ = call(capsys, "verify", tree, "labels")
    assert code == 1
    assert out.startswith("labels: no such dataset")
    assert call(capsys, "info", tree, "or")[1].startswith("or: error: masks > labels: no such dataset")


def test_explain_lists_the_steps_of_the_plan(tree, capsys):
    code, out, _ = call(capsys, "explain", tree, "or")
    assert code == 0
    assert out.startswith("3 steps\n1. labels: ZarrArrayConfig\n")
    assert "in chunks of (4, 4)" in out


def test_why_shows_the_value_in_each_array_down_to_the_chunk(tree, capsys):
    code, out, _ = call(capsys, "why", tree, "or", "103,5")
    assert code == 0
    assert out.splitlines() == [
        "or (LogicalOrArrayConfig) at [102:104, 4:8] nm: 1",
        "  masks (BinarizeArrayConfig) at [102:104, 4:8] nm: two 1, any 1",
        "    labels (ZarrArrayConfig) at [102:104, 4:8] nm: 2",
        f"      read from {tree.parent}/a.zarr/labels, voxel (1, 1)",
        "      chunk 0/0 (present)",
    ]
    assert "chunk 1/1 (absent: fill value)" in call(capsys, "why", tree, "or", "115,31")[1]


def test_why_reports_positions_outside_and_damaged_chunks(tree, capsys):
    code, out, _ = call(capsys, "why", tree, "or", "5,5")
    assert (code, out) == (1, "or: outside, roi [100:116, 0:32]\n")
    (tree.parent / "a.zarr" / "labels" / "0" / "0").write_bytes(b"broken")
    code, out, _ = call(capsys, "why", tree, "or", "100,0")
    assert code == 1
    assert "error: or > masks > labels: cannot read; found chunk 0/0 of" in out


def test_why_accepts_negative_positions(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gpa.create_zarr("n.zarr", "x", gpa.Roi((-8, -8), (8, 8)), (1, 1), "uint8")[:] = np.arange(64).reshape(8, 8)
    gpa.ZarrArrayConfig("x", tmp_path / "n.zarr", "x").to_toml("n.toml")
    code, out, _ = call(capsys, "why", "n.toml", "x", "-7,-6")
    assert code == 0
    assert out.startswith("x (ZarrArrayConfig) at [-7:-6, -6:-5] nm: 10\n")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["info"], 2, "Missing argument 'TREE'"),
        (["info", "--what", "tree.toml"], 2, "No such option"),
        (["why", "tree.toml", "or", "a,b"], 2, "'a,b' are not integers"),
        (["why", "tree.toml", "or", "1,2,3"], 2, "2 spatial axes, found 3 numbers"),
        (["info", "none.toml"], 1, "error: cannot read the tree file; found none.toml: No such file or directory"),
        (["info", "tree.toml", "msaks"], 1, "found 'msaks' in tree.toml; allowed: masks"),
        (["info", "tree.toml", "--unit", "mile"], 1, "error: "),
    ],
)
def test_errors_have_the_exit_code_of_their_kind(tree, capsys, args, code, message):
    returned, out, err = call(capsys, *args)
    assert returned == code
    assert message in err + out


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "n" * 10_000, "back\\slash", "../up"])
def test_texts_that_are_not_paths_are_short_errors(tree, capsys, text):
    for args in (
        ["info", text],
        ["why", "tree.toml", "or", text],
        ["table", "tree.toml", "labels", text],
        ["materialize", "tree.toml", "or", "out.zarr", "--dataset", text, "--dry-run"],
        ["materialize", "tree.toml", "or", "out.zarr", "--roi", text],
        ["status", text],
        ["diff", text, text],
    ):
        code, _, err = call(capsys, *args)
        assert code in (1, 2), args
        assert "rror: " in err
        assert len(err) < 3000


def test_the_traceback_option_shows_the_traceback(tree, capsys):
    assert "Traceback" not in call(capsys, "explain", "tree.toml", "msaks")[2]
    assert "Traceback" in call(capsys, "explain", "tree.toml", "msaks", "--traceback")[2]


def test_help_names_every_command(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in out
        assert call(capsys, command, "--help")[0] == 0


@pytest.mark.slow
def test_the_demo_writes_and_checks_a_sample(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    code, out, _ = call(capsys, "demo", tmp_path / "a demo")
    assert code == 0
    assert "normalized: 1572864 voxels, equal to a direct read" in out
    assert "masks: 4718592 voxels, equal to a direct read" in out
    tree = gpa.load_tree(tmp_path / "a demo" / "tree.toml")
    written = gpa.open_zarr(tmp_path / "a demo" / "out.zarr", "masks")
    organelles = tree["organelles"].array()[:]
    assert np.array_equal(written[:], np.stack([organelles == 1, organelles == 2, organelles != 0]))
    assert all(channel.any() for channel in written[:])
    # the command that it suggests works, although gp-arrays is not on the PATH
    tried = [line.strip() for line in out.split("Try next:")[1].splitlines() if " -m gp_arrays " in line]
    assert [shlex.split(line)[3] for line in tried] == ["explain", "why", "materialize", "view"]
    for line in tried[:-1]:
        ran = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=200, check=False)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    with subprocess.Popen(shlex.split(tried[-1]), stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    code, _, err = call(capsys, "demo", tmp_path / "a demo")
    assert code == 1
    assert err.startswith("error: the folder is not empty")
