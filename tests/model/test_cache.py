"""The cache of a process: its size, its entries, and what threads and forked processes read from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model import cache
from gp_arrays.model.cache import ArrayCache, Family, reading_once, total_bytes


def block(size: int = 100) -> np.ndarray[Any, Any]:
    return np.ones(size, np.uint8)


def in_fork(function: Callable[[Any], None]) -> tuple[Any, Any]:
    """Run a function in a forked process with one end of a pipe. Returns the process and the other end."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that the child lacks
        process.start()
    return process, mine


def test_the_arrays_used_last_stay() -> None:
    cache = ArrayCache(300)
    for key in "abc":
        cache.add(key, block())
    assert cache.find("a") is not None
    cache.add("d", block())
    assert [key for key in "abcd" if cache.find(key) is None] == ["b"]
    cache.add("large", block(301))
    assert cache.find("large") is None
    assert cache.nbytes == 300
    cache.clear()
    assert (cache.nbytes, cache.find("a")) == (0, None)


def test_cached_arrays_are_read_only() -> None:
    array = ArrayCache(300).get("a", block)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2


@pytest.mark.parametrize("limit", [0, 1000])
def test_threads_that_want_one_array_compute_it_once(limit: int) -> None:
    cache, begun, go, results = ArrayCache(limit), [], threading.Event(), []

    def compute() -> np.ndarray[Any, Any]:
        begun.append(1)
        go.wait(60)
        return block()

    threads = [threading.Thread(target=lambda: results.append(cache.get("a", compute))) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not begun:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert limit == 0 or len(begun) == 1


def test_after_a_failure_another_thread_tries() -> None:
    cache, begun, go, results = ArrayCache(1000), [], threading.Event(), []

    def compute() -> np.ndarray[Any, Any]:
        begun.append(1)
        go.wait(60)
        if len(begun) == 1:
            raise OSError("gone")
        return block()

    def get() -> None:
        try:
            results.append(cache.get("a", compute).size)
        except OSError as error:
            results.append(str(error))

    threads = [threading.Thread(target=get) for _ in range(3)]
    threads[0].start()
    while not begun:
        pass
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["100", "100", "gone"]


def test_forked_processes_share_the_bytes_of_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "COUNTED", 0)
    kept = ArrayCache(1200)

    def fill() -> int:
        for key in range(20):
            kept.add(key, block())
        return kept.nbytes

    def child(pipe: Any) -> None:
        pipe.send(kept.nbytes)
        pipe.recv()
        pipe.send(fill())
        pipe.recv()

    assert fill() == 1200
    children = [in_fork(child) for _ in range(2)]
    assert [pipe.recv() for _, pipe in children] == [0, 0]
    assert kept.nbytes <= 600
    for _, pipe in children:
        pipe.send("go")
    assert [pipe.recv() for _, pipe in children] == [400, 400]
    assert fill() == 400
    for process, _ in children:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert fill() == 1200


def test_a_fork_while_a_thread_computes_does_not_hang() -> None:
    cache, begun, go = ArrayCache(1000), threading.Event(), threading.Event()

    def compute() -> np.ndarray[Any, Any]:
        begun.set()
        go.wait(60)
        return block()

    thread = threading.Thread(target=cache.get, args=("a", compute))
    thread.start()
    begun.wait(60)
    process, pipe = in_fork(lambda pipe: pipe.send(int(cache.get("a", block).sum())))
    assert pipe.poll(60)
    assert pipe.recv() == 100
    go.set()
    thread.join()
    process.join()


def test_the_number_of_cached_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < total_bytes() <= min(2**31, machine // 8)
    monkeypatch.setenv(cache.VARIABLE, "12345")
    assert total_bytes() == 12345
    gpa.set_cache_bytes(77)
    assert total_bytes() == 77
    gpa.set_cache_bytes(0)
    assert not cache.CACHE.keeps(1)
    gpa.set_cache_bytes(None)
    assert total_bytes() == 12345
    monkeypatch.setenv(cache.VARIABLE, "0")
    assert total_bytes() == 0


def test_a_tree_file_sets_the_cache_unless_the_environment_or_a_call_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "_tree_bytes", None)
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    ones = '[ones]\n__type__ = "OnesArrayConfig"\nsource_array_config = "raw"\n'
    raw = '[raw]\n__type__ = "ZarrArrayConfig"\nfile_name = "data.zarr"\ndataset = "raw"\n'
    (tmp_path / "tree.toml").write_text(f"cache_bytes = 5000\n{ones}{raw}")
    assert list(gpa.load_tree(tmp_path / "tree.toml")) == ["ones", "raw"]
    assert total_bytes() == 5000
    (tmp_path / "other.toml").write_text(raw)
    gpa.load_tree(tmp_path / "other.toml")
    assert total_bytes() == 5000
    monkeypatch.setenv(cache.VARIABLE, "12345")
    assert total_bytes() == 12345
    gpa.set_cache_bytes(77)
    assert total_bytes() == 77
    gpa.set_cache_bytes(None)
    (tmp_path / "off.json").write_text('{"cache_bytes": 0}')
    cache.CACHE.add("a", block(5))
    gpa.load_tree(tmp_path / "off.json")
    monkeypatch.delenv(cache.VARIABLE)
    assert (total_bytes(), cache.CACHE.nbytes) == (0, 0)


def test_a_tree_file_with_an_error_does_not_set_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "_tree_bytes", 77)
    (tmp_path / "tree.json").write_text('{"cache_bytes": 5000, "raw": {"__type__": "NoSuchArrayConfig"}}')
    with pytest.raises(gpa.GpArraysError, match="NoSuchArrayConfig"):
        gpa.load_tree(tmp_path / "tree.json")
    assert cache._tree_bytes == 77


@pytest.mark.parametrize("text", ["-1", '"2 GB"', "1.5", "true", "[1]"])
def test_a_tree_file_with_a_bad_number_of_bytes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(f'{{"cache_bytes": {text}}}')
    with pytest.raises(gpa.ConfigError, match="^cache_bytes: not a number of bytes"):
        gpa.load_tree(tmp_path / "tree.json")


def test_a_container_has_less_memory_than_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    (tmp_path / "limit").write_text("8000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(cache, "MEMORY_LIMITS", tuple(str(tmp_path / name) for name in ("none", "limit", "absent")))
    assert total_bytes() == 1_000_000


@pytest.mark.parametrize("text", ["", "1e9", "-1", "1 GB", "\u0661"])
def test_an_environment_that_says_nonsense_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(cache.VARIABLE, text)
    with pytest.raises(gpa.ConfigError, match="GP_ARRAYS_CACHE_BYTES"):
        total_bytes()


@pytest.mark.parametrize("nbytes", [-1, 1.5, "1", True])
def test_bad_numbers_of_bytes_are_refused(nbytes: Any) -> None:
    with pytest.raises(gpa.ConfigError, match="number of bytes"):
        gpa.set_cache_bytes(nbytes)


def test_large_arrays_and_arrays_read_once_are_not_cached() -> None:
    cache = ArrayCache(1000)
    assert [cache.keeps(n) for n in (1, 500, 501)] == [True, True, False]
    with reading_once():
        assert not cache.keeps(1)
        with reading_once():
            pass
        assert not cache.keeps(1)
    assert cache.keeps(1)


def test_processes_are_counted_while_others_come_and_go() -> None:
    """numpy fails to count nonzero values in an array that another process changes at the same time."""
    family, parent = Family(), os.getpid()
    child = os.fork()
    if child == 0:
        while os.getppid() == parent:
            family._numbers[100:400] = 0
            family._numbers[100:400] = os.getpid()
        os._exit(0)
    try:
        for _ in range(3000):
            assert family.count_anew() in (1, 2)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
