"""DVID instances: types, axes, geometry, scales, versions, requests, node, laws."""

from __future__ import annotations

import threading
from typing import Any

import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.dvid import volumes as protocol
from gp_arrays.testing import ArrayTypeLaws, DVIDServer, read_in_fork

KEY = gp.ArrayKey("DVID_KEY")


@pytest.fixture
def server() -> Any:
    with DVIDServer() as running:
        yield running


def numbered(shape: Any, dtype: Any = "uint16") -> np.ndarray[Any, Any]:
    """Voxels that all differ."""
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)


def config_of(server: DVIDServer, name: str, **options: Any) -> gpa.DVIDArrayConfig:
    return gpa.DVIDArrayConfig(name, (server.url, server.root, name), **options)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float32"])
@pytest.mark.parametrize("grid_store", [False, True])
def test_grey_values(server: DVIDServer, dtype: str, grid_store: bool) -> None:
    data = numbered((5, 6, 7), dtype) / np.dtype(dtype).type(3) if dtype == "float32" else numbered((5, 6, 7), dtype)
    server.add(
        "a", data, begin=(-3, 10, 4), kind=f"{dtype}blk", block=(2, 3, 4), voxel_size=(40, 8, 4), grid_store=grid_store
    )
    array = config_of(server, "a").array()
    assert (array.dtype, array.shape, array.axes) == (np.dtype(dtype), (5, 6, 7), ("z", "y", "x"))
    assert (array.roi, tuple(array.voxel_size)) == (gpa.Roi((-120, 80, 16), (200, 48, 28)), (40, 8, 4))
    assert np.array_equal(array[:], data)
    assert np.array_equal(array[gpa.Roi((-40, 96, 24), (80, 16, 12))], data[2:4, 2:4, 2:5])
    assert array.interpolatable is (dtype in ("uint8", "uint16", "float32"))


@pytest.mark.parametrize("kind", ["labelmap", "labelarray", "labelblk"])
def test_labels(server: DVIDServer, kind: str) -> None:
    data = numbered((5, 6, 7), "uint64") + np.uint64(2**63)
    server.add("a", data, begin=(2, -1, 3), kind=kind, block=(2, 3, 4), voxel_size=(40, 8, 4))
    array = config_of(server, "a").array()
    assert (array.dtype, array.roi) == (np.uint64, gpa.Roi((80, -8, 12), (200, 48, 28)))
    assert np.array_equal(array[:], data)
    assert array.interpolatable is False
    assert {seen.query["compression"] for seen in server.voxel_requests()} == {"gzip"}


def test_colours_are_channels(server: DVIDServer) -> None:
    data = numbered((3, 4, 5, 4), "uint8")
    server.add("a", data, kind="rgba8blk", begin=(1, 2, 3))
    array = config_of(server, "a").array()
    assert (array.axes, array.channels) == (("c", "z", "y", "x"), ("red", "green", "blue", "alpha"))
    assert np.array_equal(array[:], np.moveaxis(data, -1, 0))
    assert np.array_equal(array[2, 1:, 0], data[1:, 0, :, 2])


@pytest.mark.parametrize("kind", ["multichan16", "googlevoxels", "roi", "keyvalue"])
def test_other_types_are_refused(server: DVIDServer, kind: str) -> None:
    server.add("grayscale", numbered((2, 2, 2)), kind=kind)
    good, reason = config_of(server, "grayscale").verify()
    assert not good
    assert kind in reason
    assert "uint8blk" in reason


@pytest.mark.parametrize(
    ("size", "units", "options", "want"),
    [
        ((40, 8, 4), ("nanometers",) * 3, {}, (40, 8, 4)),
        ((40, 8, 4), ("microns", "nanometers", "picometers"), {"unit": "pm"}, None),
        ((0.04, 0.008, 0.004), ("microns",) * 3, {}, (40, 8, 4)),
        ((4000, 8000, 5000), ("picometers",) * 3, {}, (4, 8, 5)),
        ((0.04, 8, 400), ("micrometers", "nm", "angstroms"), {}, (40, 8, 40)),
        ((8, 8, 8), ("nanometers",) * 3, {"voxel_size": (30, "0.002 um", 5)}, (30, 2, 5)),
        ((8, 8, 8), ("parsecs",) * 3, {"voxel_size": (30, 2, 5)}, (30, 2, 5)),
        ((3, 4, 5), ("parsecs",) * 3, {"unit": "um"}, (3000, 4000, 5000)),
    ],
)
def test_voxel_sizes_and_units(server: DVIDServer, size: Any, units: Any, options: Any, want: Any) -> None:
    server.add("a", numbered((2, 3, 4)), kind="uint16blk", begin=(1, -2, 3), voxel_size=size, units=units)
    if want is None:
        array = config_of(server, "a", voxel_size=("40 um", 8, "4 pm")).array(unit="pm")
        assert tuple(array.voxel_size) == (40_000_000, 8, 4)
        return
    array = config_of(server, "a", **options).array()
    assert tuple(array.voxel_size) == want
    assert tuple(array.roi.begin) == (want[0], -2 * want[1], 3 * want[2])


@pytest.mark.parametrize(
    ("size", "units"),
    [
        ((8, 8, 8), ("nanometers", "parsecs", "nanometers")),
        ((8, 8, 8), ("nanometers", "", "nanometers")),
        ((8, 8, 8), ("nanometers", 5, "nanometers")),
        ((8, 0, 8), ("nanometers",) * 3),
        ((8, -8, 8), ("nanometers",) * 3),
        ((8, 8), ("nanometers",) * 3),
        ((8, "wide", 8), ("nanometers",) * 3),
        ((8, None, 8), ("nanometers",) * 3),
    ],
)
def test_a_voxel_size_that_is_not_understood_names_the_remedy(server: DVIDServer, size: Any, units: Any) -> None:
    server.add("a", numbered((2, 3, 4)), kind="uint16blk", voxel_size=size, units=units)
    with pytest.raises(gpa.StoreError, match=r"^a: .*VoxelSize.*VoxelUnits.*`voxel_size=`") as caught:
        config_of(server, "a").array()
    assert "\n" not in str(caught.value)


def test_an_offset_is_the_corner_of_the_first_voxel(server: DVIDServer) -> None:
    data = numbered((2, 3, 4))
    server.add("a", data, kind="uint16blk", begin=(5, -6, 7), voxel_size=(40, 8, 4))
    array = config_of(server, "a", offset=(0, "1 um", -4)).array()
    assert array.roi == gpa.Roi((0, 1000, -4), (80, 24, 16))
    assert np.array_equal(array[:], data)


@pytest.mark.parametrize("kind", ["uint8blk", "labelmap", "labelblk"])
def test_an_empty_instance_needs_an_extent(server: DVIDServer, kind: str) -> None:
    server.add("a", None, kind=kind, voxel_size=(40, 8, 4))
    assert config_of(server, "a").verify()[0] is False
    with pytest.raises(gpa.StoreError, match="no extents.*`extent=`"):
        config_of(server, "a").array()
    array = config_of(server, "a", extent=[[-1, 2, 3], [2, 3, 4]]).array()
    assert array.roi == gpa.Roi((-40, 16, 12), (80, 24, 16))
    assert not array[:].any()


def test_an_extent_may_reach_beyond_the_written_voxels(server: DVIDServer) -> None:
    data = numbered((2, 3, 4))
    server.add("a", data, kind="uint16blk", begin=(5, 6, 7), voxel_size=(40, 8, 4))
    array = config_of(server, "a", extent=((4, 7, 0), (3, 3, 9))).array()
    want = np.zeros((3, 3, 9), "uint16")
    want[1:3, :2, 7:9] = data[:, 1:, :2]
    assert np.array_equal(array[:], want)


@pytest.mark.parametrize("kind", ["labelmap", "labelarray"])
def test_scales_of_labels(server: DVIDServer, kind: str) -> None:
    data = numbered((9, 10, 11), "uint64")
    begin = (-5, 3, 8)
    server.add("a", data, kind=kind, begin=begin, block=(4, 4, 4), voxel_size=(40, 8, 4), levels=2)
    for scale, roi in ((1, ((-240, 16, 32), (400, 96, 48))), (2, ((-320, 0, 32), (480, 128, 48)))):
        array = config_of(server, "a", scale=scale).array()
        assert array.roi == gpa.Roi(*roi)
        assert tuple(array.voxel_size) == tuple(v * 2**scale for v in (40, 8, 4))
        voxels = array[:]
        for index in np.ndindex(*voxels.shape):
            first = [b // 2**scale + p for b, p in zip(begin, index, strict=True)]
            fine = tuple(max(f * 2**scale - b, 0) for f, b in zip(first, begin, strict=True))
            assert voxels[index] == data[fine]
    for scale in (3, 9):
        with pytest.raises(gpa.StoreError, match=f"no such scale; found {scale}; allowed: 0 to 2"):
            config_of(server, "a", scale=scale).array()


def test_labelblk_has_no_scales(server: DVIDServer) -> None:
    server.add("a", numbered((4, 4, 4), "uint64"), kind="labelblk")
    with pytest.raises(gpa.StoreError, match="no such scale; found 1; allowed: 0 to 0"):
        config_of(server, "a", scale=1).array()


def test_scales_of_grey_values_are_other_instances(server: DVIDServer) -> None:
    server.add("a", numbered((8, 8, 8), "uint8"), begin=(-8, 0, 8), voxel_size=(8, 4, 4))
    half = numbered((3, 4, 5), "uint8")
    server.add("a_1", half, begin=(-4, 0, 3), voxel_size=(16, 9, 8), block=(2, 2, 2))
    array = config_of(server, "a", scale=1).array()
    assert array.roi == gpa.Roi((-64, 0, 24), (48, 36, 40))
    assert np.array_equal(array[:], half)
    with pytest.raises(gpa.StoreError, match="no such scale; found 2; allowed: .*'a_2'"):
        config_of(server, "a", scale=2).array()


def test_supervoxels(server: DVIDServer) -> None:
    bodies = numbered((4, 4, 4), "uint64")
    server.add("a", bodies, kind="labelmap", supervoxels=bodies + np.uint64(1000))
    server.add("b", bodies, kind="labelarray")
    assert np.array_equal(config_of(server, "a").array()[:], bodies)
    assert np.array_equal(config_of(server, "a", supervoxels=True).array()[:], bodies + 1000)
    with pytest.raises(gpa.StoreError, match="no supervoxels; found 'b' is labelarray; allowed: a labelmap"):
        config_of(server, "b", supervoxels=True).array()


def test_stored_scales_serve_views(server: DVIDServer) -> None:
    server.add("l", numbered((8, 8, 8), "uint64"), kind="labelmap", levels=3)
    server.add("g", numbered((8, 8, 8)), kind="uint16blk")
    server.add("g_1", numbered((4, 4, 4)), kind="uint16blk", voxel_size=(16, 16, 16))
    server.add("g_2", numbered((2, 2, 2), "uint8"))  # of another dtype: not the same voxels
    opened = config_of(server, "l").open()
    before = len(server.seen)
    assert [[str(size) for size in each.voxel_size] for each in opened.coarser()] == [
        ["16 nanometers"] * 3,
        ["32 nanometers"] * 3,
        ["64 nanometers"] * 3,
    ]
    assert len(server.seen) == before
    assert [each.shape for each in config_of(server, "g").open().coarser()] == [(4, 4, 4)]
    assert [each.shape for each in config_of(server, "l", scale=2).open().coarser()] == [(1, 1, 1)]
    assert list(config_of(server, "l", offset=(0, 0, 0)).open().coarser()) == []


@pytest.fixture
def versioned(server: DVIDServer) -> dict[str, str]:
    """UUIDs of versions, by the value of the voxels of their instance."""
    uuids = {"1": server.root, "2": "abc1" + "0" * 28, "3": "abc2" + "1" * 28, "4": "77" + "e" * 30}
    server.add("a", np.full((2, 2, 2), 1, np.uint8))
    for number, branch in (("2", "master"), ("3", "master"), ("4", "Side/one")):
        server.commit(uuids[number], branch)
        server.add("a", np.full((2, 2, 2), int(number), np.uint8), uuids[number])
    return uuids


@pytest.mark.parametrize(
    ("ref", "value"),
    [
        ("3f8c", 1),
        ("3F8CE0", 1),
        ("abc1", 2),
        (":", 3),
        (":master", 3),
        ("abc1:master", 3),
        ("3f8c:master~1", 2),
        (":master~2", 1),
        (":~1", 2),
        ("abc1:", 2),
        ("77", 4),
        ("3f:Side%2Fone", None),
    ],
)
def test_versions(server: DVIDServer, versioned: dict[str, str], ref: str, value: int | None) -> None:
    config = gpa.DVIDArrayConfig("a", (server.url, ref, "a"))
    if value is None:
        assert config.verify()[0] is False
        return
    assert np.all(config.array()[:] == value)
    assert config.open().uuid == versioned[str(value)]
    assert config.pinned().source == (server.url, versioned[str(value)], "a")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("abc", "more than one UUID matches abc"),
        ("dead", "could not find UUID with partial match to dead"),
        ("d" * 32, "could not find UUID with partial match"),
        (":nobody", 'branch "nobody" not found'),
        ("3f8c:nobody", 'branch "nobody" not found'),
        (":master~3", "~0 to ~2"),
    ],
)
def test_versions_that_are_not_there(server: DVIDServer, versioned: dict[str, str], ref: str, message: str) -> None:
    config = gpa.DVIDArrayConfig("a", (server.url, ref, "a"))
    with pytest.raises(gpa.StoreError, match=message):
        config.array()[:]
    if ref != "abc":
        assert message in config.verify()[1]


def test_a_branch_needs_a_repository(server: DVIDServer) -> None:
    server.branches.append({"master": ["99" + "0" * 30]})
    server.versions["99" + "0" * 30] = {}
    server.add("a", numbered((2, 2, 2), "uint8"))
    with pytest.raises(gpa.StoreError, match="one repo"):
        gpa.DVIDArrayConfig("a", (server.url, ":master", "a")).array()
    assert gpa.DVIDArrayConfig("a", (server.url, "3f:master", "a")).array()[0, 0, 0] == 1


def test_a_branch_is_looked_up_once(server: DVIDServer, versioned: dict[str, str]) -> None:
    array = gpa.DVIDArrayConfig("a", (server.url, ":master", "a")).array()
    server.commit("f" * 32)
    server.add("a", np.full((2, 2, 2), 9, np.uint8), "f" * 32)
    assert np.all(array[:] == 3)
    requests = [seen.path for seen in server.seen if "branch-versions" in seen.path]
    assert len(requests) == 1
    assert f"/api/node/{versioned['3']}/a/" in server.voxel_requests()[-1].path


@pytest.mark.parametrize("ref", ["3f8c", "3f8ce0a1" + "5" * 24])
def test_verify_and_meta_cost_one_request(server: DVIDServer, ref: str) -> None:
    server.add("a", numbered((2, 2, 2), "uint8"))
    config = gpa.DVIDArrayConfig("a", (server.url, ref, "a"))
    assert config.verify() == (True, "ok")
    assert [seen.path for seen in server.seen] == [f"/api/node/{ref}/a/info"]
    assert config.array().shape == (2, 2, 2)
    assert len(server.seen) == 2


@pytest.mark.parametrize("grid_store", [False, True])
def test_requests_are_in_pieces_on_block_boundaries(server: DVIDServer, grid_store: bool) -> None:
    data = numbered((300, 3, 530), "uint8")
    server.add("a", data, begin=(-50, 1, 7), block=(32, 16, 64), grid_store=grid_store)
    array = config_of(server, "a").array()
    assert np.array_equal(array[:], data)
    sizes = [seen.size for seen in server.voxel_requests()]
    assert len(sizes) == 6
    assert max(max(size) for size in sizes if size) == 256
    corners = sorted(tuple(map(int, seen.path.rsplit("/", 1)[1].split("_"))) for seen in server.voxel_requests())
    xs, zs = sorted({x for x, _, _ in corners}), sorted({z for _, _, z in corners})
    assert (xs, zs) == (([0, 256, 512], [-64, 192]) if grid_store else ([7, 256, 512], [-50, 192]))


def test_cuts() -> None:
    def cut(begin: int, end: int, block: int) -> list[tuple[int, int]]:
        instance = protocol.parse_info(
            {
                "Base": {"TypeName": "uint8blk"},
                "Extended": {"Values": [{"DataType": "uint8"}], "BlockSize": [block, 8, 8]},
            },
            "a",
        )
        return [(low[2], high[2]) for low, high in protocol.pieces(instance, (0, 0, begin), (1, 1, end))]

    assert cut(0, 256, 64) == [(0, 256)]
    assert cut(-10, 246, 64) == [(-10, 192), (192, 246)]
    assert cut(0, 600, 48) == [(0, 240), (240, 480), (480, 600)]
    assert cut(100, 900, 1000) == [(100, 356), (356, 612), (612, 868), (868, 900)]
    assert cut(300, 310, 64) == [(300, 310)]


def test_one_connection_serves_many_requests(server: DVIDServer) -> None:
    server.add("a", numbered((20, 20, 20)), kind="uint16blk")
    array = config_of(server, "a").array()
    for z in range(20):
        array[z]
    assert len({seen.connection for seen in server.seen}) == 1


def test_threads_share_few_connections(server: DVIDServer) -> None:
    data = numbered((40, 30, 20))
    server.add("a", data, kind="uint16blk", block=(8, 8, 8))
    array = config_of(server, "a").array()
    wrong: list[str] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(15):
            z, y = int(rng.integers(0, 30)), int(rng.integers(0, 20))
            if not np.array_equal(array[z : z + 9, y : y + 9], data[z : z + 9, y : y + 9]):
                wrong.append(f"{z}, {y}")

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert wrong == []
    assert len({seen.connection for seen in server.seen}) <= 4


def test_a_fork_in_the_middle_of_a_read(server: DVIDServer) -> None:
    """The child opens its own connections, so neither process reads the replies of the other."""
    data = numbered((30, 30, 30))
    server.add("a", data, kind="uint16blk")
    array = config_of(server, "a").array()
    stop, wrong = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            if not np.array_equal(array[:], data):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        digests = {read_in_fork(array) for _ in range(5)}
    finally:
        stop.set()
        for thread in threads:
            thread.join(200)
    assert (len(digests), wrong) == (1, [])


def test_node(server: DVIDServer, ask: Any) -> None:
    data = numbered((20, 20, 20), "uint8")
    server.add("a", data, voxel_size=(2, 2, 2))
    node = gpa.DVIDSource(KEY, (server.url, server.root, "a"))
    batch = ask(node + gp.RandomLocation() + gp.SimpleAugment(transpose_only=[]), {KEY: ((0, 0, 0), (8, 8, 8))})
    assert (batch[KEY].data.shape, batch[KEY].data.dtype, batch[KEY].spec.interpolatable) == ((4, 4, 4), np.uint8, True)
    assert np.isin(batch[KEY].data, data).all()


def test_random_boxes_in_small_pieces(server: DVIDServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All types, requests of a few voxels, boxes of any alignment, unwritten blocks, boxes completely outside."""
    monkeypatch.setattr(protocol, "SIDE", 7)
    rng = np.random.default_rng(0)
    for number in range(36):
        kind = ["uint8blk", "float32blk", "rgba8blk", "labelmap", "labelarray", "labelblk"][number % 6]
        dtype = {"float32blk": "float32", "uint8blk": "uint8", "rgba8blk": "uint8"}.get(kind, "uint64")
        shape = (*rng.integers(1, 14, 3).tolist(), *((4,) if kind == "rgba8blk" else ()))
        begin, block = tuple(rng.integers(-9, 9, 3).tolist()), tuple(rng.integers(1, 5, 3).tolist())
        middle = [tuple((rng.integers(begin, np.add(begin, shape[:3])) // block).tolist()) for _ in range(3)]
        grid_store = bool(rng.integers(2)) and kind in ("uint8blk", "float32blk", "rgba8blk")
        instance = server.add(
            "a",
            numbered(shape, dtype),
            kind=kind,
            begin=begin,
            block=block,
            absent=tuple(middle),
            grid_store=grid_store,
        )
        corner = tuple(int(b) + int(rng.integers(-6, 6)) for b in begin)
        size = tuple(rng.integers(1, 16, 3).tolist())
        got = config_of(server, "a", extent=(corner, size)).array()[:]
        want = instance.voxels(corner, size, 0, False)
        assert np.array_equal(got, np.moveaxis(want, -1, 0) if want.ndim == 4 else want), (number, kind, instance)


class TestLaws(ArrayTypeLaws):
    type = gpa.DVIDArrayConfig

    @pytest.fixture(autouse=True)
    def running(self) -> Any:
        with DVIDServer() as self.server:
            yield

    def configs(self, folder: Any) -> Any:
        server, labels = self.server, numbered((5, 6, 7), "uint64")
        server.add("grey", numbered((6, 5, 4), "uint8"), begin=(-2, 3, 1), block=(2, 3, 4), voxel_size=(40, 8, 4))
        server.add("grey_1", numbered((3, 3, 2), "uint8"), begin=(-1, 1, 0), voxel_size=(80, 16, 8))
        server.add("seg", labels, kind="labelmap", begin=(4, -3, 2), block=(2, 2, 2), levels=1, supervoxels=labels + 9)
        server.add("rgba", numbered((3, 4, 5, 4), "uint8"), kind="rgba8blk", units=("microns",) * 3, grid_store=True)
        crop = gpa.CropArrayConfig("crop", config_of(server, "seg"), [[40, -16, 16], [16, 24, 24]])
        return [
            config_of(server, "grey"),
            config_of(server, "grey", scale=1),
            config_of(server, "seg", scale=1, supervoxels=True),
            config_of(server, "rgba"),
            config_of(server, "seg", extent=[[0, 0, 0], [5, 5, 5]], offset=(8, 0, 16)),
            gpa.ThresholdArrayConfig("above", crop, 2**62),
        ]

    def refused(self) -> Any:
        good = ("emdata:8900", "3f8c", "grayscale")
        sources: list[Any] = [None, "emdata", good[:2], (*good, "x"), ("", *good[1:]), (good[0], good[1], 5)]
        sources += [("http://me:secret@emdata", *good[1:]), ("http://emdata?admintoken=secret", *good[1:])]
        sources += [("ftp://emdata", *good[1:]), ("http://", *good[1:]), ("emdata:port", *good[1:]), ("a b", *good[1:])]
        sources += [(good[0], ref, good[2]) for ref in ("", "xyz", "a:b:c", "3f8c:b~x", "3" * 33, "3f8c~1", "3f/8c")]
        sources += [(good[0], good[1], name) for name in ("", "..", "a\nb")]
        options: list[Any] = [{"scale": -1}, {"scale": 1.5}, {"scale": 64}, {"scale": None}, {"supervoxels": "no"}]
        options += [
            {"extent": extent}
            for extent in (5, [[0, 0, 0]], [[0, 0], [1, 1]], [[0, 0, 0], [1, 0, 1]], [[0, 0, 0.5], [1, 1, 1]])
        ]
        options += [{"voxel_size": (8, 0, 8)}, {"unit": "parsecs"}, {"interpolatable": "no"}, {"offset": "far"}]
        options += [{"voxel_size": (8, 8)}, {"offset": (0, 0, 0, 0)}]
        return [
            *(lambda source=source: gpa.DVIDArrayConfig("a", source) for source in sources),
            *(lambda each=each: gpa.DVIDArrayConfig("a", good, **each) for each in options),
        ]
