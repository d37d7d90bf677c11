"""Pictures that cannot be taken: an error in time, and no process is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.viewer import screenshot
from gp_arrays.viewer.shown import View

RAW = gpa.NumpyArrayConfig("raw", data=np.zeros((4, 4, 4), np.uint8))


def browser(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a browser that is a shell script, and no other."""
    (folder / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # one that has ended and waits to be noticed
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_no_browser(tmp_path: Path, show: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(gpa.ComputeError, match="no Chromium is installed; allowed: one of chromium, "):
        show({"raw": RAW}).screenshot(tmp_path / "a.png")


def test_a_browser_that_shows_nothing_is_ended_with_its_children(
    tmp_path: Path, show: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser(
        tmp_path,
        f"/bin/sleep 600 & echo $! > {tmp_path}/new\n/bin/mv {tmp_path}/new {tmp_path}/child\nwait",
        monkeypatch,
    )
    # the browser is started at 0.0, and the time is over as soon as it has a child
    begin = iter([0.0])
    clock = SimpleNamespace(monotonic=lambda: next(begin, 4.0 * (tmp_path / "child").exists()), sleep=time.sleep)
    monkeypatch.setattr(screenshot, "time", clock)
    view = show({"raw": RAW})
    with pytest.raises(gpa.ComputeError, match=r"no picture in time; found after 3 s"):
        view.screenshot(tmp_path / "a.png", timeout=3)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 30
    while running(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not running(child)
    assert not (tmp_path / "a.png").exists()
    assert view.viewer.config_state.state.screenshot is None


def test_a_browser_that_ends(tmp_path: Path, show: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    browser(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(gpa.ComputeError, match="the browser ended by itself; found exit code 3"):
        show({"raw": RAW}).screenshot(tmp_path / "a.png")


def test_a_missing_folder(tmp_path: Path, show: Callable[..., View]) -> None:
    with pytest.raises(gpa.StoreError, match="no such folder"):
        show({"raw": RAW}).screenshot(tmp_path / "none" / "a.png")
