"""Each surprising behaviour of DVID servers: this reader handles it, and a reader that ignores it gives wrong voxels.

A case is a check that passes, and changes that make the reader naive in one respect: the same
check then fails. So no check passes for another reason than the one that it is about.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.sources import dvid as source
from gp_arrays.storage.access import retries
from gp_arrays.storage.dvid import http as dvid_http
from gp_arrays.storage.dvid import versions as dvid_versions
from gp_arrays.storage.dvid import volumes as dvid
from gp_arrays.testing import DVIDServer

Patch = pytest.MonkeyPatch
CASES: dict[str, tuple[Callable[[DVIDServer], None], Callable[[Patch], None]]] = {}


def case(check: Callable[[DVIDServer], None]) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a check and a change that makes the reader naive, with which the check must fail."""

    def register(naive: Callable[[Patch], None]) -> Callable[[Patch], None]:
        CASES[naive.__name__] = (check, naive)
        return naive

    return register


@pytest.fixture
def server(monkeypatch: Patch) -> Any:
    monkeypatch.setattr(retries, "FIRST_DELAY", 0.001)
    with DVIDServer() as running:
        yield running


@pytest.mark.parametrize("cache_bytes", ["0", "1000000000"])
@pytest.mark.parametrize("name", CASES)
def test_the_reader_is_right(server: DVIDServer, monkeypatch: Patch, name: str, cache_bytes: str) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", cache_bytes)
    CASES[name][0](server)


@pytest.mark.parametrize("name", CASES)
def test_a_naive_reader_is_not(server: DVIDServer, monkeypatch: Patch, name: str) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    check, naive = CASES[name]
    naive(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception, gpa.GpArraysError, LookupError)):
        check(server)


def array_of(server: DVIDServer, name: str = "a", ref: str | None = None, **options: Any) -> Any:
    return gpa.DVIDArrayConfig(name, (server.url, ref or server.root, name), **options).array()


def unique(shape: Any, dtype: Any = np.uint16) -> np.ndarray[Any, Any]:
    """Voxels that all differ."""
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)


def patched_info(patch: Patch, change: Callable[[dvid.Instance], dvid.Instance]) -> None:
    parse = dvid.parse_info
    patch.setattr(dvid, "parse_info", lambda info, name: change(parse(info, name)))


# 1: lists in x, y, z; MaxPoint inclusive; null extents; labelblk without Extents


def geometry(server: DVIDServer) -> None:
    data = unique((5, 6, 7))
    server.add("a", data, kind="uint16blk", begin=(-3, 10, 4), block=(2, 3, 4), voxel_size=(40, 8, 4))
    array = array_of(server)
    assert array.roi == gpa.Roi((-120, 80, 16), (200, 48, 28))
    assert tuple(array.voxel_size) == (40, 8, 4)
    assert array.config.open().chunks == (2, 3, 4)
    assert np.array_equal(array[:], data)


@case(geometry)
def points_and_block_sizes_are_not_reversed(patch: Patch) -> None:
    patch.setattr(dvid, "_integers", lambda value, what, least=None: tuple(value))


@case(geometry)
def voxel_sizes_are_not_reversed(patch: Patch) -> None:
    patch.setattr(dvid, "_reversed", lambda value: value)


@case(geometry)
def max_point_is_taken_for_the_end(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, end=tuple(e - 1 for e in i.end or ())))


@case(geometry)
def max_point_is_taken_for_the_shape(patch: Patch) -> None:
    patched_info(
        patch,
        lambda i: attrs.evolve(i, end=tuple(b + e - 1 for b, e in zip(i.begin or (), i.end or (), strict=True))),
    )


@case(geometry)
def min_point_is_taken_for_zero(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, begin=(0, 0, 0)))


def units(server: DVIDServer) -> None:
    server.add(
        "a", unique((2, 3, 4)), kind="uint16blk", voxel_size=(0.5, 40, 8000), units=("microns", "nm", "picometers")
    )
    assert tuple(array_of(server).voxel_size) == (500, 40, 8)


@case(units)
def units_are_ignored(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, units=["nanometers"] * 3))


@case(units)
def units_are_not_reversed(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, units=i.units[::-1]))


def empty(server: DVIDServer) -> None:
    server.add("a", None)
    with pytest.raises(gpa.StoreError, match="`extent=`"):
        array_of(server)


@case(empty)
def null_extents_are_taken_for_one_voxel(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, begin=(0, 0, 0), end=(1, 1, 1)))


def without_extents(server: DVIDServer) -> None:
    server.add("a", unique((3, 4, 5), np.uint64), kind="labelblk", begin=(1, 2, 3))
    assert np.array_equal(array_of(server)[:], unique((3, 4, 5), np.uint64))


@case(without_extents)
def extents_are_read_where_labelblk_has_none(patch: Patch) -> None:
    def corners(info: Any, extended: Any, grid_store: bool) -> Any:
        return info["Extents"]["MinPoint"], info["Extents"]["MaxPoint"]

    patch.setattr(dvid, "_corners", corners)


def type_names(server: DVIDServer) -> None:
    server.add("grayscale", unique((3, 4, 5), np.uint64), kind="labelmap")
    array = array_of(server, "grayscale")
    assert (array.dtype, array.interpolatable) == (np.uint64, False)
    assert np.array_equal(array[:], unique((3, 4, 5), np.uint64))


@case(type_names)
def types_are_guessed_from_names(patch: Patch) -> None:
    def guess(i: dvid.Instance) -> dvid.Instance:
        kind = "uint8blk" if i.name == "grayscale" else "labelmap"
        return attrs.evolve(i, kind=kind, dtype=np.dtype("u1" if kind == "uint8blk" else "u8"))

    patched_info(patch, guess)


# 2: raw voxels


@case(geometry)
def sizes_and_offsets_are_sent_z_first(patch: Patch) -> None:
    patch.setattr(dvid, "_xyz", lambda values: "_".join(map(str, values)))


@case(geometry)
def voxels_are_taken_for_big_endian(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, dtype=i.dtype.newbyteorder(">")))


@case(geometry)
def z_is_taken_for_the_fastest_axis(patch: Patch) -> None:
    read = dvid._read_raw

    def naive(url: str, instance: Any, piece: Any, query: Any, out: Any, origin: Any) -> None:
        read(url, instance, piece, query, out, origin)
        out[...] = out.ravel().reshape(out.shape, order="F")  # the test reads one piece

    patch.setattr(dvid, "_read_raw", naive)


def colours(server: DVIDServer) -> None:
    data = unique((3, 4, 5, 4), np.uint8)
    server.add("a", data, kind="rgba8blk")
    assert np.array_equal(array_of(server)[:], np.stack([data[..., i] for i in range(4)]))


@case(colours)
def channels_are_taken_for_the_slowest_axis(patch: Patch) -> None:
    patch.setattr(source.np, "moveaxis", lambda data, *_: data.reshape(4, *data.shape[:3]))


@case(colours)
def channels_are_ignored(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, channels=None))


def outside(server: DVIDServer) -> None:
    server.add("a", unique((2, 2, 2)), kind="uint16blk", begin=(5, 5, 5))
    voxels = array_of(server, extent=[[4, 4, 4], [3, 3, 3]])[:]
    assert voxels.shape == (3, 3, 3)
    assert np.array_equal(voxels, np.pad(unique((2, 2, 2)), ((1, 0),) * 3))


@case(outside)
def extents_are_the_only_box_there_is(patch: Patch) -> None:
    box = source.DVIDOpened._box
    patch.setattr(source.DVIDOpened, "_box", lambda self, i, c: box(self, i, c.with_fields(extent=None)))


# 3: versions


def versions(server: DVIDServer) -> None:
    second, third, side = "abc1" + "0" * 28, "abd2" + "1" * 28, "77" + "e" * 30
    server.add("a", np.full((2, 2, 2), 1, np.uint8))
    for uuid, branch, value in ((second, "master", 2), (third, "master", 3), (side, "side", 4)):
        server.commit(uuid, branch)
        server.add("a", np.full((2, 2, 2), value, np.uint8), uuid)
    refs = {"ABC1": 2, ":master": 3, "abc:master~1": 2, "77:": 4, "abc:side": 4}
    arrays = {ref: array_of(server, ref=ref) for ref in refs}
    server.commit("f" * 32)
    server.add("a", np.full((2, 2, 2), 9, np.uint8), "f" * 32)
    assert {ref: int(array[0, 0, 0]) for ref, array in arrays.items()} == refs
    uuids = {ref: array.config.open().uuid for ref, array in arrays.items()}
    assert {ref: uuids[ref] for ref in ("ABC1", "77:", "abc:side")} == {"ABC1": second, "77:": side, "abc:side": side}
    for missing in ("ab", "dead", ":nobody", ":master~9"):
        with pytest.raises(gpa.StoreError, match="40|no such version"):
            array_of(server, ref=missing)


@case(versions)
def branches_are_looked_up_by_the_server_each_time(patch: Patch) -> None:
    patch.setattr(source, "resolve", lambda server, ref: str(ref))


@case(versions)
def ancestors_are_ignored(patch: Patch) -> None:
    resolve = dvid_versions.resolve
    patch.setattr(source, "resolve", lambda server, ref: resolve(server, attrs.evolve(ref, back=0)))


@case(versions)
def branches_are_ignored(patch: Patch) -> None:
    resolve = dvid_versions.resolve
    patch.setattr(
        source, "resolve", lambda server, ref: resolve(server, attrs.evolve(ref, branch="master", prefix=ref.prefix))
    )


@case(versions)
def digits_are_sent_in_capitals(patch: Patch) -> None:
    parse = dvid_versions.Ref.parse.__func__  # type: ignore[attr-defined]

    def shouting(cls: Any, text: str) -> Any:
        return attrs.evolve(parse(cls, text), prefix=text.partition(":")[0].upper())

    patch.setattr(dvid_versions.Ref, "parse", classmethod(shouting))


# 4: labelmaps


def labels(server: DVIDServer) -> None:
    bodies = unique((8, 8, 8), np.uint64)
    server.add("a", bodies, kind="labelmap", supervoxels=bodies + np.uint64(1000), levels=1, block=(4, 4, 4))
    assert np.array_equal(array_of(server)[:], bodies)
    assert np.array_equal(array_of(server, supervoxels=True)[:], bodies + 1000)
    assert np.array_equal(array_of(server, scale=1)[:], bodies[::2, ::2, ::2])
    assert tuple(array_of(server, scale=1).voxel_size) == (16, 16, 16)
    with pytest.raises(gpa.StoreError, match="no such scale"):
        array_of(server, scale=2)


@case(labels)
def content_encoding_is_waited_for(patch: Patch) -> None:
    fetch = dvid.fetch
    patch.setattr(dvid, "fetch", lambda url, consume, gunzip=False: fetch(url, consume))


def drop_from_query(patch: Patch, key: str) -> None:
    query = dvid._query
    patch.setattr(dvid, "_query", lambda each: query({k: v for k, v in each.items() if k != key}))


@case(labels)
def scales_are_not_asked_for(patch: Patch) -> None:
    drop_from_query(patch, "scale")


@case(labels)
def supervoxels_are_not_asked_for(patch: Patch) -> None:
    drop_from_query(patch, "supervoxels")


@case(labels)
def the_server_is_trusted_to_refuse_scales(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, scales=99))


def halves(server: DVIDServer) -> None:
    server.add("a", unique((5, 6, 7), np.uint64), kind="labelmap", begin=(-3, 5, 1), levels=1)
    array = array_of(server, scale=1)
    assert array.roi == gpa.Roi((-32, 32, 0), (48, 64, 64))
    assert array[:].all()


@case(halves)
def scaled_boxes_are_rounded_to_zero(patch: Patch) -> None:
    def box(self: Any, instance: Any, config: Any) -> Any:
        first = tuple(int(b / 2**config.scale) for b in instance.begin)
        shape = tuple((e - b) // 2**config.scale for b, e in zip(instance.begin, instance.end, strict=True))
        return first, shape

    patch.setattr(source.DVIDOpened, "_box", box)


# 5: a single aligned block that was never written


def single_block(server: DVIDServer) -> None:
    data = unique((8, 8, 8), np.uint64)
    server.add("a", data, kind="labelmap", block=(4, 4, 4), absent=((1, 0, 0),), levels=1)
    assert not array_of(server)[4:8, 0:4, 0:4].any()
    assert np.array_equal(array_of(server)[0:4, 4:8, 0:4], data[0:4, 4:8, 0:4])
    assert not array_of(server, extent=[[8, 8, 8], [4, 4, 4]])[:].any()
    assert not array_of(server, scale=1, extent=[[4, 0, 0], [4, 4, 4]])[:].any()


@case(single_block)
def a_single_block_is_asked_for_as_it_is(patch: Patch) -> None:
    read = dvid._read_raw

    def naive(url: str, instance: Any, *rest: Any) -> None:
        read(url, attrs.evolve(instance, kind="labelarray"), *rest)

    patch.setattr(dvid, "_read_raw", naive)


# 6: scales of grey values


def siblings(server: DVIDServer) -> None:
    server.add("a", unique((4, 4, 4)), kind="uint16blk", voxel_size=(8, 8, 8))
    server.add("a_1", unique((2, 2, 3)) + np.uint16(500), kind="uint16blk", begin=(0, 0, 1), voxel_size=(16, 20, 16))
    array = array_of(server, scale=1)
    assert array.roi == gpa.Roi((0, 0, 16), (32, 40, 48))
    assert np.array_equal(array[:], unique((2, 2, 3)) + 500)
    with pytest.raises(gpa.StoreError, match="no such scale"):
        array_of(server, scale=2)


@case(siblings)
def grey_values_are_asked_for_by_scale(patch: Patch) -> None:
    patch.setattr(source.DVIDOpened, "_at_scale", lambda self, base, config: base)
    query = dvid._query
    patch.setattr(dvid, "_query", lambda each: query({**each, "scale": "1"}))


@case(siblings)
def siblings_are_taken_to_be_halves(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, voxel_size=[16, 16, 16], begin=(0, 0, 0)))


# 7: limits and load


def limits(server: DVIDServer) -> None:
    data = unique((300, 20, 300), np.uint8)
    server.add("a", data, limit=256 * 256 * 20)
    assert np.array_equal(array_of(server)[:], data)
    assert max(max(seen.size or ()) for seen in server.voxel_requests()) <= 256


@case(limits)
def all_is_asked_for_at_once(patch: Patch) -> None:
    patch.setattr(dvid, "SIDE", 10**6)


def load(server: DVIDServer) -> None:
    server.add("a", unique((2, 2, 2)), kind="uint16blk")
    server.busy = 2
    server.faults += [503, 429, 502]
    assert np.array_equal(array_of(server)[:], unique((2, 2, 2)))
    assert server.busy == 2


@case(load)
def a_busy_server_is_given_up(patch: Patch) -> None:
    patch.setattr(dvid_http, "RETRIED", ())


@case(load)
def requests_ask_to_be_throttled(patch: Patch) -> None:
    query = dvid._query
    patch.setattr(dvid, "_query", lambda each: query({**each, "throttle": "on"}))


# 8: replies of status 200 that are incomplete


def late_errors(server: DVIDServer, fault: str) -> None:
    server.add("a", unique((20, 20, 20)), kind="uint16blk")
    server.add("b", unique((20, 20, 20), np.uint64), kind="labelmap")
    for name in ("a", "b"):
        server.faults.append(fault)
        with pytest.raises(gpa.StoreError, match="too short|longer|gzip"):
            array_of(server, name)[:]


def short_replies(server: DVIDServer) -> None:
    late_errors(server, "short")


def replies_that_end_in_an_error(server: DVIDServer) -> None:
    late_errors(server, "text")


def replies_that_go_on_with_an_error(server: DVIDServer) -> None:
    late_errors(server, "long")


def padding(patch: Patch) -> None:
    def fill(self: dvid_http.Body, array: np.ndarray[Any, Any]) -> None:
        array[...] = 0
        self.read_into(memoryview(array.reshape(-1).view(np.uint8)))

    patch.setattr(dvid_http.Body, "fill", fill)
    patch.setattr(dvid_http.Body, "require_end", lambda self: None)


@case(short_replies)
def short_replies_are_padded(patch: Patch) -> None:
    padding(patch)


@case(replies_that_end_in_an_error)
def errors_are_taken_for_voxels(patch: Patch) -> None:
    padding(patch)


@case(replies_that_go_on_with_an_error)
def what_follows_is_not_looked_at(patch: Patch) -> None:
    patch.setattr(dvid_http.Body, "require_end", lambda self: None)


# 9: grid stores


def grid_store(server: DVIDServer) -> None:
    data = unique((8, 8, 8), np.uint32)
    server.add("a", data, kind="uint32blk", block=(4, 4, 4), grid_store=True, absent=((0, 1, 0),), unreliable=True)
    array = array_of(server)
    want = data.copy()
    want[0:4, 4:8, 0:4] = 0
    assert array.shape == (8, 8, 8)
    assert np.array_equal(array[:], want)
    assert np.array_equal(array[1:7, 3:5, 2:], want[1:7, 3:5, 2:])


@case(grid_store)
def grid_stores_are_asked_for_raw_voxels(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, grid_store=False))


@case(grid_store)
def max_point_is_inclusive_in_grid_stores_too(patch: Patch) -> None:
    patched_info(patch, lambda i: attrs.evolve(i, end=tuple(e + 1 for e in i.end or ())))


@case(grid_store)
def blocks_are_taken_to_come_in_order(patch: Patch) -> None:
    blocks_of = dvid._blocks_of

    def in_order(body: Any, count: int) -> Any:
        order = itertools.product((0, 1), repeat=3)
        for position, (_, *rest) in zip(order, blocks_of(body, count), strict=False):
            yield position, *rest

    patch.setattr(dvid, "_blocks_of", in_order)


@case(grid_store)
def all_blocks_are_taken_to_be_there(patch: Patch) -> None:
    read = dvid._read_blocks

    def naive(url: str, instance: Any, piece: Any, *rest: Any) -> None:
        if any(e - b > n for b, e, n in zip(*piece, instance.block_size, strict=True)):
            read(url, instance, piece, *rest)

    patch.setattr(dvid, "_read_blocks", naive)


def unaligned_blocks(server: DVIDServer) -> None:
    server.add("a", unique((9, 9, 9)), kind="uint16blk", block=(4, 4, 4), begin=(1, 2, 3), grid_store=True)
    assert np.array_equal(array_of(server)[:], unique((9, 9, 9)))


@case(unaligned_blocks)
def blocks_are_asked_for_where_the_array_begins(patch: Patch) -> None:
    patch.setattr(dvid, "pieces", lambda instance, begin, end: [(tuple(begin), tuple(end))])


# 10: tokens


def token(server: DVIDServer, dsg: bool) -> None:
    server.add("a", unique((2, 2, 2)), kind="uint16blk")
    server.token, server.dsg = "a-token", dsg
    with pytest.raises(gpa.StoreError, match="401" if dsg else "400"):
        array_of(server)
    with Patch.context() as patch:
        patch.setenv("DVID_TOKEN", "a-token")
        assert np.array_equal(array_of(server)[:], unique((2, 2, 2)))
        assert all("admintoken" not in seen.query for seen in server.seen)


def token_of_dvid(server: DVIDServer) -> None:
    token(server, dsg=False)


def token_of_dsg(server: DVIDServer) -> None:
    token(server, dsg=True)


def no_token(patch: Patch) -> None:
    patch.setattr(dvid_http.session(), "auth", lambda request: request)


@case(token_of_dvid)
def no_token_is_sent(patch: Patch) -> None:
    no_token(patch)


@case(token_of_dsg)
def no_token_is_sent_to_dsg(patch: Patch) -> None:
    no_token(patch)


# 11: replies in chunks, without a length


def chunks(server: DVIDServer) -> None:
    server.add("a", unique((20, 20, 20)), kind="uint16blk")
    assert np.array_equal(array_of(server)[:], unique((20, 20, 20)))


@case(chunks)
def a_content_length_is_expected(patch: Patch) -> None:
    init, read_into = dvid_http.Body.__init__, dvid_http.Body.read_into

    def with_length(self: Any, response: Any, gunzip: bool) -> None:
        init(self, response, gunzip)
        self.left = int(response.headers.get("Content-Length", 0))

    def read_length(self: Any, buffer: memoryview) -> int:
        count = read_into(self, buffer[: self.left])
        self.left -= count
        return count

    patch.setattr(dvid_http.Body, "__init__", with_length)
    patch.setattr(dvid_http.Body, "read_into", read_length)
