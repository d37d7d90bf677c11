"""Blocks of DVID instances are requested once, and only blocks that can never change are cached."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE
from gp_arrays.storage.dvid.blocks import boxes_of
from gp_arrays.testing import DVIDServer, read_in_fork

SHAPE, BEGIN, BLOCK = (20, 30, 40), (-5, 3, 10), (8, 8, 16)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DVIDServer]:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "10000000")
    with DVIDServer() as running:
        rng = np.random.default_rng(0)
        grey = rng.integers(1, 256, SHAPE, np.uint8)
        running.add("grey", grey, begin=BEGIN, block=BLOCK)
        running.add("grid", grey, begin=BEGIN, block=BLOCK, grid_store=True, absent=((0, 1, 1),))
        running.add("colours", rng.integers(1, 256, (*SHAPE, 4), np.uint8), begin=BEGIN, block=BLOCK, kind="rgba8blk")
        ids = rng.integers(1, 2**64, SHAPE, np.uint64)
        running.add("ids", ids, begin=BEGIN, block=BLOCK, kind="labelmap", supervoxels=ids + np.uint64(1), levels=2)
        yield running


def array_of(server: DVIDServer, name: str, version: str | None = None, **options: Any) -> gpa.Array:
    return gpa.DVIDArrayConfig(name, (server.url, version or server.root, name), **options).array()


def boxes(count: int, shape: Any = SHAPE) -> Iterator[tuple[slice, ...]]:
    rng = np.random.default_rng(1)
    for _ in range(count):
        pairs = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in shape]
        yield tuple(slice(a, b) for a, b in pairs)


def requested_blocks(server: DVIDServer) -> list[tuple[int, ...]]:
    """The blocks of all requests, once for each request."""
    blocks: list[tuple[int, ...]] = []
    for seen in server.voxel_requests():
        assert seen.size is not None
        begin = tuple(int(each) for each in reversed(seen.path.rsplit("/", 1)[1].split("_")))
        blocks += itertools.product(
            *(range(b // n, -(-(b + s) // n)) for b, s, n in zip(begin, seen.size, BLOCK, strict=True))
        )
    return blocks


@pytest.mark.parametrize("name", ["grey", "grid", "colours", "ids"])
def test_each_block_is_requested_once(server: DVIDServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
        want = array_of(server, name)[:]
    server.seen.clear()
    for box in boxes(30):
        # an array that is opened anew, under another name, shares the blocks
        array = gpa.DVIDArrayConfig("other", (server.url, server.root[:8], name)).array()
        key = box if want.ndim == 3 else (slice(1, 3), *box)
        assert np.array_equal(array[key], want[key])
    assert np.array_equal(array_of(server, name)[:], want)
    count = len(server.voxel_requests())
    assert np.array_equal(array_of(server, name)[:], want)
    assert len(server.voxel_requests()) == count
    blocks = requested_blocks(server)
    assert len(set(blocks)) == 3 * 5 * 4
    if name == "ids":
        # of one whole block alone, a voxel more is asked for
        assert len(blocks) < 2 * len(set(blocks))
    else:
        # a block that a grid store leaves out is asked for again by itself
        assert len(blocks) - len(set(blocks)) == (name == "grid")


def test_a_repeated_read_sends_no_request(server: DVIDServer) -> None:
    array = array_of(server, "ids")
    first = array[3:9, 4:20, 5:30]
    count = len(server.seen)
    first[:] = 0  # the caller may change the voxels that it got
    again = array[3:9, 4:20, 5:30]
    assert again.all()
    assert np.array_equal(array[3:9, 4:20, 5:6], again[..., :1])
    assert len(server.seen) == count


def test_no_request_reaches_beyond_the_array(server: DVIDServer) -> None:
    array_of(server, "grey")[0, 0, 0]
    array_of(server, "grey")[-1, -1, -1]
    begins = [tuple(map(int, seen.path.rsplit("/", 1)[1].split("_"))) for seen in server.voxel_requests()]
    assert begins == [(10, 3, -5), (48, 32, 8)]
    assert [seen.size for seen in server.voxel_requests()] == [(5, 5, 6), (7, 1, 2)]
    part = array_of(server, "grey", extent=[[0, 8, 16], [8, 8, 16]])
    assert np.array_equal(part[:], array_of(server, "grey")[5:13, 5:13, 6:22])


def test_scales_supervoxels_and_versions_are_cached_separately(server: DVIDServer) -> None:
    other = server.commit("abcdef" + "1" * 26)
    server.versions[other] = dict(server.versions[server.root])
    server.add("ids", np.full(SHAPE, 7, np.uint64), uuid=other, begin=BEGIN, block=BLOCK, kind="labelmap", levels=2)
    readings = [
        {},
        {"supervoxels": True},
        {"scale": 1},
        {"scale": 1, "supervoxels": True},
        {"scale": 2},
        {"version": other},
    ]
    for _ in range(2):
        fine, unmerged, *coarse, committed = (array_of(server, "ids", **options)[:] for options in readings)
        assert np.array_equal(unmerged, fine + np.uint64(1))
        assert [each.shape for each in coarse] == [(11, 16, 20), (11, 16, 20), (6, 9, 11)]
        assert np.array_equal(coarse[1], coarse[0] + np.uint64(1))
        assert (committed == 7).all()


def test_an_unlocked_version_is_read_again_each_time(server: DVIDServer) -> None:
    server.open_versions.add(server.root)
    array = array_of(server, "grey")
    before = array[:4, :4, :4]
    server.versions[server.root]["grey"].data[:4, :4, :4] ^= 255
    assert np.array_equal(array[:4, :4, :4], before ^ 255)
    assert [seen.size for seen in server.voxel_requests()] == [(4, 4, 4)] * 2
    assert CACHE.nbytes == 0
    server.open_versions.clear()
    # once it is committed, an array that is opened then keeps its blocks
    later = array_of(server, "grey")
    assert np.array_equal(later[:4, :4, :4], before ^ 255)
    assert CACHE.nbytes > 0


def test_nothing_is_cached_if_the_server_does_not_tell_whether_a_version_is_locked(
    server: DVIDServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gp_arrays.testing import dvid_server

    reply = server.reply

    def without_status(seen: Any) -> bytes:
        if seen.path.endswith("/status"):
            raise dvid_server.Refused(404, "404 page not found")
        return reply(seen)

    monkeypatch.setattr(server, "reply", without_status)
    array = array_of(server, "grey")
    assert np.array_equal(array[:4, 0, 0], array[:4, 0, 0])
    assert len(server.voxel_requests()) == 2


@pytest.mark.parametrize("limit", ["0", "30000"])
def test_a_request_that_does_not_fit_the_cache_is_read_as_it_is(
    server: DVIDServer, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", limit)
    array = array_of(server, "grey")
    for _ in range(2):
        array[1:19, 1:29, 1:39]
    assert [seen.size for seen in server.voxel_requests()] == [(18, 28, 38)] * 2
    assert not any(seen.path.endswith("/status") for seen in server.seen)


def test_a_pass_over_blocks_caches_nothing(server: DVIDServer) -> None:
    counts = gpa.count(gpa.DVIDArrayConfig("grey", (server.url, server.root, "grey")))
    assert sum(counts.values()) == np.prod(SHAPE)
    assert CACHE.nbytes == 0


def test_a_read_that_fails_leaves_nothing_wrong_in_the_cache(server: DVIDServer) -> None:
    array = array_of(server, "grey")
    for fault in ("short", "text", "long", 500):
        server.faults.append(fault)
        with pytest.raises(gpa.StoreError):
            array[:]
    assert np.array_equal(array[:], server.versions[server.root]["grey"].data)


def test_threads_and_forks(server: DVIDServer) -> None:
    array, want = array_of(server, "ids"), server.versions[server.root]["ids"].data
    wrong: list[Any] = []

    def read() -> None:
        wrong.extend(box for box in boxes(10) if not np.array_equal(array[box], want[box]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    read_in_fork(array.config)


def test_boxes_hold_all_positions_once() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        grid = rng.random((4, 5, 6)) < rng.choice([0.2, 0.8, 1])
        positions = set(map(tuple, np.argwhere(grid).tolist()))
        covered: list[Any] = []
        for first, last in boxes_of(positions, (2, 9, 3)):
            assert all(b - a <= m for a, b, m in zip(first, last, (2, 9, 3), strict=True))
            covered += itertools.product(*map(range, first, last))
        assert sorted(covered) == sorted(positions)
    all_positions = set(itertools.product(range(4), repeat=3))
    assert list(boxes_of(all_positions, (4, 4, 4))) == [((0, 0, 0), (4, 4, 4))]
