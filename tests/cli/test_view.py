"""``gp-arrays view``, run in a process of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.viewer import screenshot


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Grey values 80 at 5.24 nm, and a mask of values above 50, which is 1 everywhere."""
    array = gpa.create_zarr(
        tmp_path / "a.zarr", "raw", gpa.Roi((0,) * 3, (64 * 5240,) * 3), (5240,) * 3, "uint8", unit="pm"
    )
    array[:] = 80
    raw = gpa.ZarrArrayConfig("raw", tmp_path / "a.zarr", "raw")
    gpa.save_tree([gpa.ThresholdArrayConfig("bright", raw, 50)], tmp_path / "tree.toml")
    text = (tmp_path / "tree.toml").read_text()
    (tmp_path / "tree.toml").write_text(f'unit = "pm"\n{text}')
    return tmp_path / "tree.toml"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from gp_arrays.cli import main; main()", "view", *map(str, arguments)]


def test_view_serves_until_ctrl_c(tree: Path) -> None:
    with subprocess.Popen(command(tree), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            assert process.stdout.readline().startswith("from another machine: ssh -N -L ")
            with urllib.request.urlopen(url, timeout=60) as page:
                assert b"neuroglancer" in page.read().lower()
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(screenshot.browser() is None, reason="no Chromium is installed")
def test_view_writes_a_picture(tree: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(tree, "raw", "--png", tmp_path / "raw.png"), capture_output=True, text=True, timeout=150
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'raw.png'}\n"), done.stderr
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "raw.png").read_bytes())))
    assert picture.shape[:2] == (800, 1000)
    # raw fills most of each panel
    assert (picture[..., :3] == 80).all(-1).mean() > 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no array of that name; found 'nothing' in"),
        (["brigt"], "allowed: bright"),
        (["--png", "nowhere/at/all.png"], "no such folder"),
        (["--unit", "parsec"], "not a unit of length"),
        (["--unit", "nm"], "the parts of a tree have different units"),
        (["--host", "300.1.1.1"], "cannot listen"),
        (["--host", "::1"], "an IPv4 address or a name"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["view", str(tree), *arguments]) == 1
    printed = capfd.readouterr().err.strip()
    assert message in printed
    assert "\n" not in printed


def test_a_missing_file_and_an_invalid_port_are_errors(
    tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["view", str(tmp_path / "none.toml")]) == 1
    assert run(["view", str(tree), "--port", "70000"]) == 2
    assert "cannot read the tree file" in capfd.readouterr().err
