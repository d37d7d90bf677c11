"""The same tests with the DVID server for tests and with a real one.

A real one is asked only where DVID_TEST_SERVER says its address (``http://127.0.0.1:8000``); it gets
a repository of its own. DVID_ADMIN_TOKEN is what the server was started with, which creating
a repository takes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
import requests

import gp_arrays as gpa
from gp_arrays.testing import DVIDServer

REAL = os.environ.get("DVID_TEST_SERVER", "")
#: Seconds that a real server gets to make the coarser levels of labels.
PATIENCE = 60

#: In z, y, x; whole blocks, as voxels are posted in these.
GREY_BEGIN, GREY_SHAPE = (32, 64, 96), (64, 96, 32)
LABEL_BEGIN, LABEL_SHAPE = (64, 0, 128), (64, 128, 192)
VOXEL_SIZE = (40, 8, 4)


def grey_values() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 256, GREY_SHAPE).astype(np.uint8)


def label_ids() -> np.ndarray[Any, Any]:
    """Cubes of 4 voxels along an axis, each of one id: halving them twice leaves no choice."""
    ids = np.arange(1, 1 + np.prod([n // 4 for n in LABEL_SHAPE]), dtype=np.uint64) + np.uint64(2**33)
    cubes = ids.reshape([n // 4 for n in LABEL_SHAPE])
    return cubes.repeat(4, 0).repeat(4, 1).repeat(4, 2)


@attrs.frozen
class Volumes:
    """A server with the volumes, and its two versions: in the second, ``grey`` is inverted."""

    url: str
    root: str
    child: str

    def array(self, name: str, version: str | None = None, **options: Any) -> Any:
        return gpa.DVIDArrayConfig(name, (self.url, version or self.root, name), **options).array()


def fake_volumes(server: DVIDServer) -> Volumes:
    server.add("grey", grey_values(), begin=GREY_BEGIN, voxel_size=VOXEL_SIZE)
    for kind in ("labelmap", "labelarray"):
        server.add(kind, label_ids(), kind=kind, begin=LABEL_BEGIN, block=(64, 64, 64), voxel_size=VOXEL_SIZE, levels=2)
    child = server.commit("c0ffee" + "1" * 26)
    server.add("grey", 255 - grey_values(), child, begin=GREY_BEGIN, voxel_size=VOXEL_SIZE)
    server.add("empty", None, voxel_size=VOXEL_SIZE)
    return Volumes(server.url, server.root, child)


def real_volumes(url: str) -> Volumes:
    def post(path: str, **body: Any) -> Any:
        reply = requests.post(f"{url}/api/{path}", timeout=120, **body)
        assert reply.status_code == 200, f"{path.partition('?')[0]}: {reply.status_code} {reply.text[:500]}"
        return reply.json() if reply.text.startswith("{") else None

    admin = os.environ.get("DVID_ADMIN_TOKEN", "")
    query = f"?admintoken={admin}" if admin else ""
    root = post(f"repos{query}", json={"alias": "gp_arrays", "description": "volumes of a test"})["root"]
    size = "4,8,40"
    instances = {"grey": ("uint8blk", {}), "empty": ("uint8blk", {})}
    instances |= {
        kind: (kind, {"BlockSize": "64,64,64", "MaxDownresLevel": "2"}) for kind in ("labelmap", "labelarray")
    }
    for name, (kind, options) in instances.items():
        post(f"repo/{root}/instance", json={"typename": kind, "dataname": name, "VoxelSize": size, **options})

    def post_voxels(version: str, name: str, data: np.ndarray[Any, Any], begin: tuple[int, ...]) -> None:
        shape, corner = ("_".join(map(str, reversed(each))) for each in (data.shape, begin))
        voxels = data.astype(data.dtype.newbyteorder("<")).tobytes()
        post(f"node/{version}/{name}/raw/0_1_2/{shape}/{corner}", data=voxels)

    post_voxels(root, "grey", grey_values(), GREY_BEGIN)
    for kind in ("labelmap", "labelarray"):
        post_voxels(root, kind, label_ids(), LABEL_BEGIN)
    end = time.monotonic() + PATIENCE
    volumes = Volumes(url, root, "")
    for kind in ("labelmap", "labelarray"):
        while not volumes.array(kind, scale=2)[:].all() and time.monotonic() < end:
            time.sleep(0.5)
    post(f"node/{root}/commit", json={"note": "first"})
    child = post(f"node/{root}/newversion", json={"note": "second"})["child"]
    post_voxels(child, "grey", 255 - grey_values(), GREY_BEGIN)
    return Volumes(url, root, child)


@pytest.fixture(scope="module", params=["fake", "real"])
def volumes(request: Any) -> Iterator[Volumes]:
    if request.param == "real":
        if not REAL:
            pytest.skip("DVID_TEST_SERVER does not say where a real DVID server is")
        yield real_volumes(REAL.rstrip("/"))
    else:
        with DVIDServer() as server:
            yield fake_volumes(server)


def test_grey_values(volumes: Volumes) -> None:
    array = volumes.array("grey")
    assert (array.dtype, array.shape, tuple(array.voxel_size)) == (np.uint8, GREY_SHAPE, VOXEL_SIZE)
    assert tuple(array.roi.begin) == (1280, 512, 384)
    assert np.array_equal(array[:], grey_values())
    assert np.array_equal(array[3:50, 7, 5:31], grey_values()[3:50, 7, 5:31])


@pytest.mark.parametrize("kind", ["labelmap", "labelarray"])
def test_labels_and_their_scales(volumes: Volumes, kind: str) -> None:
    for scale in (0, 1, 2):
        array = volumes.array(kind, scale=scale)
        step = 2**scale
        assert (array.dtype, tuple(array.roi.begin)) == (np.uint64, (2560, 0, 512))
        assert tuple(array.voxel_size) == tuple(v * step for v in VOXEL_SIZE)
        assert np.array_equal(array[:], label_ids()[::step, ::step, ::step])
    with pytest.raises(gpa.StoreError, match="no such scale"):
        volumes.array(kind, scale=3)
    part = volumes.array(kind)[1:63, 60:70, 100:129]
    assert np.array_equal(part, label_ids()[1:63, 60:70, 100:129])


def test_supervoxels(volumes: Volumes) -> None:
    assert np.array_equal(volumes.array("labelmap", supervoxels=True)[:], label_ids())


@pytest.mark.parametrize("kind", ["labelmap", "labelarray"])
@pytest.mark.parametrize("scale", [0, 1])
def test_blocks_that_were_never_written(volumes: Volumes, kind: str, scale: int) -> None:
    array = volumes.array(kind, scale=scale, extent=[[0, 192, 0], [64, 64, 64]])
    assert not array[:].any()


def test_around_the_written_voxels(volumes: Volumes) -> None:
    begin = tuple(b - 5 for b in GREY_BEGIN)
    array = volumes.array("grey", extent=[begin, tuple(n + 10 for n in GREY_SHAPE)])
    assert np.array_equal(array[:], np.pad(grey_values(), 5))


def test_an_empty_instance(volumes: Volumes) -> None:
    with pytest.raises(gpa.StoreError, match="`extent=`"):
        volumes.array("empty")
    assert not volumes.array("empty", extent=[[0, 0, 0], [32, 32, 32]])[:].any()


def test_versions(volumes: Volumes) -> None:
    prefix = volumes.root[:10]
    for version in (prefix, f"{prefix}:master~1", f"{volumes.child[:10]}:master~1"):
        assert volumes.array("grey", version).config.open().uuid == volumes.root
        assert np.array_equal(volumes.array("grey", version)[:], grey_values())
    for version in (volumes.child, volumes.child[:10], f"{prefix}:master"):
        assert volumes.array("grey", version).config.open().uuid == volumes.child
        assert np.array_equal(volumes.array("grey", version)[:], 255 - grey_values())


def test_instances_that_do_not_exist(volumes: Volumes) -> None:
    unknown = "0" * 32 if not volumes.root.startswith("0") else "f" * 32
    cases = (
        (unknown, "grey", "400"),
        (volumes.root, "nothing", "allowed: .*grey"),
        (f"{volumes.root[:10]}:nobody", "grey", "400"),
    )
    for version, name, expected in cases:
        good, reason = gpa.DVIDArrayConfig(name, (volumes.url, version, name)).verify()
        assert not good
        assert re.search(expected, reason)
        assert "\n" not in reason
