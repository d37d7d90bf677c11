"""Pictures of a view, taken by Chromium without a screen."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ComputeError, StoreError
from ..storage.access.files import store_errors
from .volume import volumes_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Software rendering, and no access to the network.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def browser() -> str | None:
    """The path of Chromium, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextlib.contextmanager
def browsing(url: str, size: tuple[int, int]) -> Iterator[subprocess.Popen[bytes]]:
    """A headless browser that shows ``url``; it and all its children end with the block."""
    program = browser()
    if program is None:
        raise ComputeError("no Chromium is installed", allowed=f"one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory(prefix="gp_arrays-view-", ignore_cleanup_errors=True) as profile:
        # Chromium refuses its sandbox to root
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [
                program,
                *FLAGS,
                *sandbox,
                f"--window-size={max(size[0], 1000)},{max(size[1], 800)}",
                f"--user-data-dir={profile}",
                url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def take(viewer: Any, size: tuple[int, int], timeout: float) -> Any:
    """The picture that a browser makes of a viewer, without controls around it.

    A browser is started for the current state of the viewer. Raises ComputeError if there is
    no picture in time, or if voxels cannot be computed.
    """
    before, palettes = viewer.config_state.state, viewer.state.tool_palettes.to_json()
    with viewer.txn() as state:
        # panels beside the picture would take room from it
        for palette in state.tool_palettes.values():
            palette.visible = False
    with viewer.config_state.txn() as config:
        config.show_ui_controls = config.show_panel_borders = False
        config.viewer_size = list(size)
    try:
        with browsing(viewer.get_viewer_url(), size) as process:
            begun = time.monotonic()
            picture = _next_picture(viewer, process, begun, timeout)
            # the first picture may have the size of the window instead of the requested one
            while (picture.width, picture.height) != size:
                picture = _next_picture(viewer, process, begun, timeout)
            return picture
    finally:
        # other browsers may show the view too, and an unanswered request must not remain
        viewer.config_state.set_state(before)
        with viewer.txn() as state:
            state.tool_palettes = palettes


def _next_picture(viewer: Any, process: subprocess.Popen[bytes], begun: float, timeout: float) -> Any:
    """The next picture that a browser sends, which was started at the time ``begun``."""
    pictures: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def check(statistics: Any) -> None:
        if statistics.total.to_json().get("visibleChunksFailed"):
            pictures.put(None)

    viewer.async_screenshot(lambda answer: pictures.put(answer.screenshot), statistics_callback=check)
    while pictures.empty():
        if process.poll() is not None:
            raise ComputeError("the browser ended by itself", found=f"exit code {process.returncode}")
        if time.monotonic() > begun + timeout:
            raise ComputeError("the browser sent no picture in time", found=f"after {timeout:g} s")
        time.sleep(0.02)
    picture = pictures.get()
    if picture is None:
        problems = sorted({text for volume in volumes_of(viewer) for text in volume.problems})
        raise ComputeError("some voxels could not be computed", found="; ".join(problems) or None)
    return picture


def save(viewer: Any, path: Path, size: tuple[int, int], timeout: float) -> None:
    """Write a picture of a viewer to a PNG file."""
    if not path.absolute().parent.is_dir():
        raise StoreError("no such folder", found=str(path.parent))
    image = take(viewer, size, timeout).image
    with store_errors(path, "cannot write the picture"):
        path.write_bytes(image)
