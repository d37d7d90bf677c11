"""The examples of the README run unchanged on the data that they name."""

import importlib
import importlib.util
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.cli import cli, run

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def commands(block):
    """The ``gp-arrays`` lines of a block, each as a shell splits it."""
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["gp-arrays"]]


# the first block installs the package: .ci/run runs it
_, LOOK, STORES, WRITE = blocks("sh")


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(fib25, tmp_path, monkeypatch, capfd):
    (tmp_path / "fib25.zarr").symlink_to(fib25)
    monkeypatch.chdir(tmp_path)
    (document,) = blocks("toml")
    (tmp_path / "tree.toml").write_text(document)
    tree, train, nodes, sampling, datasets = blocks("python")

    def script(text):
        ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def command(words, expected=0):
        code = run(words)
        printed = capfd.readouterr()
        assert code == expected, f"{shlex.join(words)}\n{printed.out}{printed.err}"
        return printed.out

    # as a script, which serves its view until Ctrl-C
    (tmp_path / "tree.py").write_text(tree)
    with subprocess.Popen([sys.executable, "-u", "tree.py"], stdout=subprocess.PIPE, text=True) as process:
        lines = []
        while not any("http://127.0.0.1:" in line for line in lines[-1:]):
            lines.append(process.stdout.readline())
            assert lines[-1], f"it ended by itself: {lines}"
        with urllib.request.urlopen(lines[-1].strip(), timeout=60) as page:
            assert page.status == 200
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 0
    assert "2. masks: BinarizeArrayConfig of labels" in "".join(lines)
    shapes = script(
        tree.split("print(")[0]
        + "\nprint(array[0, 10:20, :, 5].shape, array[gpa.Roi((26000, 0, 0), (640, 640, 640))].shape)"
    )
    assert shapes == "(10, 250) (2, 64, 64, 64)\n"
    ids = np.asarray(zarr.open(str(fib25), mode="r")["labels/neurons"][:])
    stored = zarr.open(str(tmp_path / "out.zarr"), mode="r")["masks"][:]
    assert np.array_equal(stored, np.stack([np.isin(ids, [115, 182]), ids != 0]))

    printed = {}
    for words in commands(LOOK):
        if words[0] != "view":  # it serves until Ctrl-C: tests/cli/test_view.py
            printed[words[0]] = command(words)
    assert list(printed) == ["info", "verify", "explain", "why", "materialize", "table", "count"]
    assert printed["verify"].count(": ok") == 4
    assert "chunk 0/0/0 (present)" in printed["why"]
    assert "1 of 1 blocks done, 1 of them before" in printed["materialize"]  # the script has done it

    assert np.load(tmp_path / "ids.npy").shape == (len(np.unique(ids)) - 1, 2)

    shapes = script(train + "\nprint(batch[RAW].data.shape, batch[MASKS].data.shape)")
    assert shapes.split("\n")[-2] == "(64, 64, 64) (2, 32, 32, 32)"
    request_code = "\nwith gp.build(pipeline):\n    print(pipeline.request_batch(request)[MASKS].data.shape)"
    assert script(train + nodes + request_code).split("\n")[-2] == "(4, 1, 32, 32, 32)"

    corner = np.array(gpa.open_zarr(fib25, "labels/neurons").roi.begin)
    points = corner + 10 * np.argwhere(stored[0])[::99]
    np.savetxt("sample_points.csv", points, fmt="%d", delimiter=",")
    request_code = "\nsmall = gp.BatchRequest()\nsmall.add(MASKS, (80, 80, 80))"
    request_code += "\nwith gp.build(in_mask):\n    print(in_mask.request_batch(small)[MASKS].data.any())"
    request_code += "\nsmall.add(SAMPLE_POINTS, (80, 80, 80))"
    request_code += (
        "\nwith gp.build(around_points):\n    print(around_points.request_batch(small)[MASKS].data[0].any())"
    )
    assert script(train + sampling + request_code).split("\n")[-3:-1] == ["True", "True"]

    assert printed["count"].splitlines()[:2] == [f"axon\t{stored[0].sum()}", f"any\t{stored[1].sum()}"]
    if importlib.util.find_spec("torch"):
        shown = "\nprint(tuple(next(iter(samples))['masks'].shape), len(tiles))"
        assert script(train + datasets + shown).split("\n")[-2] == "(2, 32, 32, 32) 343"

    printed = []
    for words in commands(WRITE):
        if "--worker-command" in words:
            continue  # srun is not here
        if "--pyramid" in words:
            words += ["--roi", "26000:26640,0:640,0:640"]  # the whole takes long
        printed.append(command(words, expected=1 if words[0] == "status" else 0))  # so that labels are not complete
    dry, both, pyramid, others, status, difference = printed
    assert "16 blocks to do" in dry
    assert "nothing was written" in dry
    assert "normalized, masks: 16 of 16 blocks done;" in both
    assert "labels/s0, labels/s1" in pyramid
    assert "masks: 16 of 16 blocks done" in others
    assert "masks: 16 of 16 blocks done" in status
    assert difference == f"equal: {stored.size} voxels\n"


def test_stores_without_a_tree(fib25, tmp_path, monkeypatch, capfd):
    (tmp_path / "fib25.zarr").symlink_to(fib25)
    monkeypatch.chdir(tmp_path)
    table, view, init = commands(STORES)
    assert run(table) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == [
        "array",
        "raw",
        "neurons",
        "supervoxels",
    ]
    assert view == ["view", "fib25.zarr/labels"]  # it serves until Ctrl-C
    assert init[-2:] == [">", "fib25.toml"]
    assert run(init[:-2]) == 0
    (tmp_path / "fib25.toml").write_text(capfd.readouterr().out)
    assert list(gpa.load_tree("fib25.toml")) == ["raw", "neurons", "supervoxels"]


def test_the_tree_is_the_same_in_python_and_in_the_file(fib25, tmp_path, monkeypatch):
    (tmp_path / "fib25.zarr").symlink_to(fib25)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree.toml").write_text(blocks("toml")[0])
    variables = {}
    exec(blocks("python")[0].split("array =")[0], variables)
    for name, config in gpa.load_tree("tree.toml").items():
        assert gpa.explain(config).replace(f"{tmp_path}/", "") == gpa.explain(variables[name])


def test_every_name_exists():
    jobs = importlib.import_module("gp_arrays.jobs")
    for name in set(re.findall(r"\bgpa\.(\w+)", README)):
        assert hasattr(gpa, name) or name in jobs.__all__, name
    known = {
        option
        for name in cli.list_commands(None)
        for each in cli.get_command(None, name).params
        for option in each.opts
    }
    assert set(re.findall(r"(?<=[ `])--[a-z-]+", README)) <= known
    named = set(re.findall(r"\bgp-arrays ([a-z]+) ", README))
    assert named == set(cli.list_commands(None))


def test_every_array_type_is_listed():
    listed = re.findall(r"`(\w+Config)`", README.split("## Array types")[1].split("\n\n")[1])
    bases = {"ArrayConfig", "PointwiseConfig", "SourceConfig"}
    assert set(listed) == {name for name in gpa.__all__ if name.endswith("Config")} - bases
