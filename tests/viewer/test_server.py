"""The server: where it listens, what it says, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from view_helpers import served

import gp_arrays as gpa
from gp_arrays.viewer.server import DaemonThreads
from gp_arrays.viewer.shown import View

RAW = gpa.NumpyArrayConfig("raw", data=np.zeros((4, 4, 4), np.uint8))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_chosen_port(show: Callable[..., View]) -> None:
    port = free_port()
    view = show({"raw": RAW}, port=port)
    assert view.url.startswith(f"http://127.0.0.1:{port}/v/")
    # a second view is on the same server
    assert show({"raw": RAW}).url.split("/v/")[0] == view.url.split("/v/")[0]
    with pytest.raises(gpa.ConfigError, match="a view is served already"):
        show({"raw": RAW}, port=free_port())


def test_a_port_that_is_in_use(show: Callable[..., View]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(gpa.ConfigError, match="cannot listen; found 127.0.0.1:"):
            show({"raw": RAW}, port=other.getsockname()[1])
    assert show({"raw": RAW}).url


def test_a_closed_view_is_not_served(show: Callable[..., View]) -> None:
    first, second = show({"raw": RAW}), show({"raw": RAW})
    for view in (first, second):
        assert served(view, "raw", (0, 0, 0), (4, 4, 4)).shape == (4, 4, 4)
    first.close()
    with urllib.request.urlopen(second.url, timeout=30) as page:
        assert page.status == 200
    # also what a browser that is still open would ask for
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(first.url, timeout=30)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        served(first, "raw", (0, 0, 0), (4, 4, 4))
    assert served(second, "raw", (0, 0, 0), (4, 4, 4)).shape == (4, 4, 4)
    second.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(second.url, timeout=30)


@pytest.mark.parametrize(
    "options", [{"host": None}, {"host": 5}, {"host": "\0"}, {"port": "x"}, {"port": 1.5}, {"port": -1}]
)
def test_a_host_or_port_that_cannot_be_used(options: dict[str, Any]) -> None:
    with pytest.raises(gpa.ConfigError):
        gpa.view({"raw": RAW}, quiet=True, **options)


@pytest.mark.parametrize("path", [None, 5, "a\0b"])
def test_invalid_paths_of_pictures_are_refused(path: Any, show: Callable[..., View]) -> None:
    with pytest.raises(gpa.GpArraysError):
        show({"raw": RAW}).screenshot(path)


def test_a_host_that_others_can_reach_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for host, warned in [("127.0.0.1", False), ("0.0.0.0", True)]:
        with caplog.at_level(logging.WARNING):
            gpa.view({"raw": RAW}, host=host, quiet=True).close()
        assert ("whoever can reach this machine" in caplog.text) == warned


def test_the_address_and_how_to_reach_it_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    view = gpa.view({"raw": RAW})
    view.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first == view.url
    port = view.url.split("/")[2].split(":")[1]
    assert second.startswith(f"from another machine: ssh -N -L {port}:127.0.0.1:{port} ")


def test_the_program_does_not_wait_for_threads_that_compute_chunks() -> None:
    others = set(threading.enumerate())
    workers, begun, go_on = DaemonThreads(2), threading.Semaphore(0), threading.Event()
    slow = workers.submit(lambda: (begun.release(), go_on.wait(60)))
    assert begun.acquire(timeout=60)
    assert workers.submit(pow, 2, 5).result(60) == 32
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(60)
    slower = workers.submit(lambda: (begun.release(), go_on.wait(60)))
    assert begun.acquire(timeout=60)
    never = workers.submit(pow, 2, 5)
    workers.shutdown()  # returns although both are busy
    threads = set(threading.enumerate()) - others
    assert (slow.done(), slower.done(), never.done()) == (False, False, False)
    assert threads
    assert all(thread.daemon for thread in threads)
    go_on.set()
    assert slow.result(60)
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert never.cancelled()


SLOW = """
    import sys, time
    from typing import ClassVar
    import attrs, numpy as np
    import gp_arrays as gpa

    @attrs.frozen(eq=False, repr=False)
    class Slow(gpa.PointwiseConfig):
        abstract: ClassVar[bool] = True
        source_array_config: object = attrs.field(metadata={"gp_arrays_source": True})

        def infer(self, *sources):
            return sources[0]

        def kernel(self, dtype, *sources):
            print("computing", flush=True)
            time.sleep(600)

    labels = gpa.NumpyArrayConfig("labels", data=np.zeros((4, 4, 4), np.uint64), voxel_size=(1, 1, 1))
    shown = gpa.view({"slow": Slow("slow", labels)})
    volume = shown.viewer.state.layers["slow"].source[0].url.rsplit("/", 1)[1]
    print(f"{shown.url.split('/v/')[0]}/neuroglancer/npz/{volume}/1,1,1/0,0,0/4,4,4", flush=True)
    shown.serve()
    print("served", flush=True)
"""


def test_ctrl_c_ends_a_view_while_a_chunk_is_computed(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            assert process.stdout.readline().startswith("from another machine: ssh")
            chunk = process.stdout.readline().strip()
            failed: list[BaseException] = []

            def ask() -> None:
                try:
                    urllib.request.urlopen(chunk, timeout=60).read()
                except OSError as error:
                    failed.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            assert process.stdout.readline() == "computing\n"
            begun = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            # the chunk takes ten minutes
            assert process.wait(60) == 0
            print(f"ended after {time.monotonic() - begun:.2f} s")
            assert process.stdout.readline() == "served\n"
            asking.join(60)
            assert len(failed) == 1
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
