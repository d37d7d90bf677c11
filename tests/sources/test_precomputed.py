"""Precomputed volumes as TensorStore writes them: encodings, shards, scales, broken files, laws."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import imagecodecs
import numpy as np
import pytest
from oracles.precomputed_trees import SHARDING, write_volume

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.storage.precomputed import volumes
from gp_arrays.testing import StoredSourceLaws

RNG = np.random.default_rng(7)


def random(*shape: int, dtype: Any = "uint8") -> np.ndarray[Any, Any]:
    return RNG.integers(0, 250, shape).astype(dtype)


def labels(dtype: Any = "uint64", *shape: int) -> np.ndarray[Any, Any]:
    """Labels with few ids in some blocks and very many in others."""
    data = np.repeat(RNG.integers(0, 2**31, (6, 3, 4)), 8, 0).repeat(8, 1).repeat(8, 2)[:41, :22, :27]
    data[:9] = RNG.integers(1, 2**31, data[:9].shape)  # more than 256 in a block
    data[20:30, ::2] = 5
    data[9:12] = RNG.integers(0, 12, data[9:12].shape)
    return data.astype(dtype) << (dtype == "uint64") * np.array(31, dtype)


def volume(path: Path, data: Any, chunk: Any = (4, 5, 6), **fields: Any) -> gpa.PrecomputedArrayConfig:
    write_volume(path, data, chunk, **fields)
    return gpa.PrecomputedArrayConfig("volume", path)


def edit(path: Path, scale: Any = (), **changes: Any) -> None:
    """Change an info document, or its first scale; None removes an entry."""
    info = json.loads((path / "info").read_text())
    for table, changed in ((info, changes), (info["scales"][0], dict(scale))):
        table.update(changed)
        for key in [key for key, value in table.items() if value is None]:
            del table[key]
    (path / "info").write_text(json.dumps(info))


def sharding(**changes: Any) -> dict[str, Any]:
    return {**SHARDING, **changes}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (random(9, 11, 13), {}),
        (random(9, 11, 13, dtype="int16"), {"begin": (-3, 0, 70), "resolution": (40, 4, 8)}),
        (random(3, 9, 11, 13, dtype="float32"), {"begin": (-3, 0, 70)}),
        (random(2, 9, 11, 13, dtype="uint16"), {"encoding": "png"}),
        (random(9, 11, 13), {"encoding": "png", "sharding": sharding(data_encoding="raw")}),
        (labels("uint64"), {"encoding": "compressed_segmentation", "chunk": (20, 20, 20)}),
        (labels("uint32"), {"encoding": "compressed_segmentation", "chunk": (64, 64, 64)}),
        (
            np.stack([labels("uint32"), labels("uint32")]),
            {
                "encoding": "compressed_segmentation",
                "chunk": (9, 22, 30),
                "compressed_segmentation_block_size": [3, 4, 5],
                "sharding": sharding(minishard_index_encoding="raw"),
            },
        ),
        (random(9, 11, 13, dtype="uint64"), {"sharding": sharding(hash="identity", shard_bits=0, minishard_bits=3)}),
        (random(9, 11, 13, dtype="int8"), {"sharding": sharding(preshift_bits=0, shard_bits=9), "chunk": (1, 3, 2)}),
    ],
)
def test_volumes_written_by_tensorstore_are_read(tmp_path: Path, data: Any, fields: Any) -> None:
    array = volume(tmp_path, data, **fields).array()
    size, begin = fields.get("resolution", (1, 1, 1)), fields.get("begin", (0, 0, 0))
    assert (array.axes, array.dtype) == (("z", "y", "x") if data.ndim == 3 else ("c", "z", "y", "x"), data.dtype)
    assert tuple(array.voxel_size) == tuple(size)
    assert tuple(array.roi.begin) == tuple(b * v for b, v in zip(begin, size, strict=True))
    assert np.array_equal(array[:], data)
    box = (slice(3, 8), slice(4, 11), slice(1, 7))
    assert np.array_equal(array[(..., *box)], data[(..., *box)])
    if data.ndim == 4:
        assert np.array_equal(array[1, :5], data[1, :5])


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_gives_the_voxels_that_tensorstore_reads(tmp_path: Path, channels: int) -> None:
    data = random(channels, 3, 3, 3).repeat(4, 1).repeat(4, 2).repeat(4, 3)
    want = write_volume(tmp_path, data, (8, 7, 9), encoding="jpeg", jpeg_quality=90)
    array = gpa.PrecomputedArrayConfig("volume", tmp_path).array()
    assert np.array_equal(array[:], want.read().result().squeeze())
    assert abs(array[:].astype(int) - data.squeeze()).mean() < 20


@pytest.mark.parametrize(
    ("compress", "ending"),
    [
        (gzip.compress, ""),
        (gzip.compress, ".gz"),
        (imagecodecs.brotli_encode, ".br"),
        (imagecodecs.zstd_encode, ".zstd"),
        (imagecodecs.zstd_encode, ""),
    ],
)
def test_files_may_be_compressed_once_more(tmp_path: Path, compress: Any, ending: str) -> None:
    data = random(9, 11, 13)
    config = volume(tmp_path, data)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.unlink()
        path.with_name(path.name + ending).write_bytes(compress(content))
    assert np.array_equal(config.array()[:], data)
    (path,) = tmp_path.rglob("*/0-6_0-5_0-4*")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(gpa.StoreError, match="chunk 1_1_1/0-6_0-5_0-4 of"):
        config.array()[:]


def test_scales_are_picked_by_number_or_key(tmp_path: Path) -> None:
    fine, coarse = random(8, 8, 8), random(4, 8, 8)
    config = volume(tmp_path, fine, resolution=(40, 4, 4), key="fine")
    write_volume(tmp_path, coarse, (4, 4, 4), (80, 4, 4), (1, 0, 0), encoding="png", key="4_4_80")
    for scale in (0, "fine", "40 nm", (79, 4, 4)):
        assert np.array_equal(config.with_fields(scale=scale).array()[:], fine)
    for scale in (1, "4_4_80", "80 nm", ("0.1 um", 9, 4.5)):
        array = config.with_fields(scale=scale).array()
        assert (tuple(array.voxel_size), tuple(array.roi.begin)) == ((80, 4, 4), (80, 0, 0))
        assert np.array_equal(array[:], coarse)
    write_volume(tmp_path, coarse[:2], (4, 4, 4), (160, 4, 4), key="lossy", encoding="jpeg")
    write_volume(tmp_path, coarse[:3], (4, 4, 4), (120, 4, 4), key="last")
    info = (tmp_path / "info").read_text()
    assert [each.voxel_size[0].to("nm") for each in config.open().coarser()] == [80, 120, 160]
    assert [each.voxel_size[0].to("nm") for each in config.with_fields(scale="last").open().coarser()] == [160]
    (tmp_path / "info").write_text(info.replace("jpeg", "fpzip"))
    assert [each.voxel_size[0].to("nm") for each in config.open().coarser()] == [80, 120]
    for scale in (4, -1, "4_4_4", "4 parsec"):
        with pytest.raises(gpa.StoreError, match=rf"^volume: .*no such scale.*{scale}.*0 to 3.*fine, 4_4_80"):
            config.with_fields(scale=scale).array()
    for scale, message in (("39 nm", "no level has voxels of that size.*"), ((80, 4), "not one length")):
        with pytest.raises(gpa.StoreError, match=f"^volume: .*{message}"):
            config.with_fields(scale=scale).array()


def test_lengths_and_names_of_the_user_win(tmp_path: Path) -> None:
    config = volume(tmp_path, random(4, 4, 4), resolution=(40, 5.24, 5.24), begin=(1, 2, 3))
    with pytest.raises(gpa.TreeError, match=r'^volume: .*5\.24 nm.*unit = "pm"'):
        config.array()
    array = config.array(unit="pm")
    assert (tuple(array.voxel_size), tuple(array.roi.begin)) == ((40000, 5240, 5240), (40000, 10480, 15720))
    array = config.with_fields(voxel_size=(3, 2, "5 nm")).array()
    assert (tuple(array.voxel_size), tuple(array.roi.begin)) == ((3, 2, 5), (3, 4, 15))
    array = config.with_fields(voxel_size=(3, 2, 1), offset=(0, 0, 7), unit="um").array()
    assert (tuple(array.voxel_size), tuple(array.roi.begin)) == ((3000, 2000, 1000), (0, 0, 7000))
    for prefix in ("precomputed://", "precomputed:"):
        assert gpa.PrecomputedArrayConfig("volume", f"{prefix}{tmp_path}").file_name == tmp_path
    assert gpa.PrecomputedArrayConfig("volume", f"{tmp_path}|neuroglancer-precomputed:").file_name == tmp_path


@pytest.mark.parametrize(("kind", "dtype", "expected"), [("image", "uint8", True), ("segmentation", "uint16", False)])
def test_segmentations_are_not_interpolated(tmp_path: Path, kind: str, dtype: str, expected: bool) -> None:
    config = volume(tmp_path, random(2, 2, 2, dtype=dtype), kind=kind)
    assert config.array().interpolatable is expected
    assert config.with_fields(interpolatable=not expected).array().interpolatable is not expected


@pytest.mark.parametrize("sharded", [None, SHARDING])
def test_absent_chunks_are_zeros_while_the_volume_is_there(tmp_path: Path, sharded: Any) -> None:
    data = random(9, 11, 13) + 1
    data[4:8, 5:10, 6:12] = 0  # TensorStore writes no such chunk
    config = volume(tmp_path / "a", data, sharding=sharded)
    array = config.array()
    assert np.array_equal(array[:], data)
    states = [array.config.open().chunk_of(at) for at in ((5, 6, 8), (0, 0, 0))]
    assert states == [("1_1_1/6-12_5-10_4-8", "absent: 0"), ("1_1_1/0-6_0-5_0-4", "present")]
    for path in (tmp_path / "a" / "1_1_1").iterdir():
        path.unlink()
    assert not array[:].any()
    info = (tmp_path / "a" / "info").read_text()
    (tmp_path / "a" / "info").write_text(info.replace('"image"', '"segmentation"'))
    with pytest.raises(gpa.StoreError, match="^volume: the volume has changed since it was opened"):
        array[:]
    (tmp_path / "a" / "info").unlink()
    with pytest.raises(gpa.StoreError, match="^volume: no precomputed volume; found no file 'info' in .*/a"):
        array[:]


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [("raw", "uint8"), ("jpeg", "uint8"), ("png", "uint8"), ("compressed_segmentation", "uint64")],
)
@pytest.mark.parametrize("sharded", [None, SHARDING, sharding(data_encoding="raw", minishard_index_encoding="raw")])
def test_a_broken_chunk_is_named(tmp_path: Path, encoding: str, dtype: str, sharded: Any) -> None:
    data = random(8, 8, 8, dtype=dtype) + np.array(1, dtype)
    config = volume(tmp_path, data, (8, 8, 8), encoding=encoding, sharding=sharded)
    array = config.array()
    before = array[:]
    (path,) = (path for path in (tmp_path / "1_1_1").iterdir() if path.is_file())
    chunk = path.read_bytes()
    named = rf"^volume: cannot read; found chunk 1_1_1/0-8_0-8_0-8 of {re.escape(str(tmp_path))}: "
    for broken in (chunk[: len(chunk) // 2], chunk[:-1], b"", b"<html>no voxels</html>"):
        path.write_bytes(broken)
        with pytest.raises(gpa.StoreError, match=named) as caught:
            array[:]
        assert "\n" not in str(caught.value)
    path.write_bytes(chunk)
    assert np.array_equal(array[:], before)


@pytest.mark.parametrize("lie", [2**40, 2**64 - 1, 3])
@pytest.mark.parametrize("word", range(5))
def test_an_index_that_lies_is_an_error(tmp_path: Path, word: int, lie: int) -> None:
    """Begin and end of the index of a minishard; in that the number of the chunk, where it begins, its bytes."""
    shards = sharding(minishard_bits=0, shard_bits=5, minishard_index_encoding="raw")
    config = volume(tmp_path, np.arange(512, dtype="uint16").reshape(8, 8, 8), (8, 8, 8), sharding=shards)
    (path,) = (tmp_path / "1_1_1").iterdir()
    content = bytearray(path.read_bytes())
    end = int.from_bytes(content[8:16], "little")
    position = 8 * word if word < 2 else 16 + end - 24 + 8 * (word - 2)
    content[position : position + 8] = lie.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(gpa.StoreError, match=r"^volume: cannot read; found chunk 1_1_1/0-8_0-8_0-8 of ") as caught:
        config.array()[:]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "scale", "named"),
    [
        ({"@type": "neuroglancer_skeletons"}, {}, "not a volume; found 'neuroglancer_skeletons'"),
        ({"data_type": "bfloat16"}, {}, "dtype; found 'bfloat16'.*uint8"),
        ({"data_type": None}, {}, "malformed info; found no 'data_type' in .*/info"),
        ({"num_channels": 0}, {}, r"malformed info; found \[0\] where 1 integers"),
        ({"scales": []}, None, "malformed info; found no scales"),
        ({}, {"encoding": "fpzip"}, "encoding 'fpzip' of scale '1_1_1'.*raw"),
        ({}, {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}, "uint32"),
        ({}, {"encoding": "compressed_segmentation"}, "no 'compressed_segmentation_block_size'"),
        ({}, {"size": [4, 4]}, r"\[4, 4\] where 3 integers"),
        ({}, {"size": [4, 0, 4]}, r"\[4, 0, 4\] where 3 integers from 1"),
        ({}, {"voxel_offset": [0.5, 0, 0]}, r"\[0\.5, 0, 0\] where 3 integers"),
        ({}, {"chunk_sizes": []}, "malformed info; found None where 3 integers"),
        ({}, {"resolution": [1, 0, 1]}, r"voxel size; found resolution .*1, 0, 1.*`voxel_size=`"),
        ({}, {"resolution": [1, "wide", 1]}, "voxel size; found resolution .*wide.*`voxel_size=`"),
        ({}, {"key": None}, "no 'key'"),
        ({}, {"sharding": sharding(hash="md5")}, "hash 'md5'.*murmurhash3_x86_128"),
        ({}, {"sharding": sharding(data_encoding="zstd")}, "zstd.*raw, gzip"),
        ({}, {"sharding": sharding(minishard_bits=70)}, "sharding by"),
    ],
)
def test_an_info_that_is_not_understood_is_named(tmp_path: Path, changes: Any, scale: Any, named: str) -> None:
    config = volume(tmp_path, random(4, 4, 4))
    if scale is None:
        (tmp_path / "info").write_text(json.dumps({**json.loads((tmp_path / "info").read_text()), **changes}))
    else:
        edit(tmp_path, scale, **changes)
    with pytest.raises(gpa.StoreError, match=f"^volume: .*{named}") as caught:
        config.array()
    assert "\n" not in str(caught.value)
    assert config.verify() == (False, str(caught.value))
    if scale and "resolution" in scale:
        assert tuple(config.with_fields(voxel_size=(9, 9, 9)).array().voxel_size) == (9, 9, 9)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 10**5])
def test_an_info_that_is_not_an_object_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "info").write_bytes(content)
    with pytest.raises(
        gpa.StoreError, match="^volume: (malformed info; .*a JSON object|cannot read; found .*/info)"
    ) as caught:
        gpa.PrecomputedArrayConfig("volume", tmp_path).array()
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "info").mkdir(parents=True)
    with pytest.raises(gpa.StoreError, match="^volume: .*a folder.*/a/info"):
        gpa.PrecomputedArrayConfig("volume", tmp_path / "a").array()
    array = volume(tmp_path / "b", random(4, 4, 4), (4, 4, 4)).array()
    chunk = tmp_path / "b" / "1_1_1" / "0-4_0-4_0-4"
    chunk.unlink()
    chunk.symlink_to(tmp_path / "nothing")
    with pytest.raises(
        gpa.StoreError, match="^volume: cannot read; found chunk 1_1_1/.*a link whose target is missing"
    ):
        array[:]


def test_a_scale_whose_folder_is_removed_is_an_error(tmp_path: Path) -> None:
    config = volume(tmp_path, random(4, 4, 4) + 1)
    array = config.array()
    (tmp_path / "1_1_1").rename(tmp_path / "elsewhere")
    with pytest.raises(gpa.StoreError, match="^volume: the volume has changed since it was opened; found .*1_1_1"):
        array[:]
    empty = config.array()
    assert empty.plan.steps[0].opened.assumed == ("none of its chunks exists: all voxels are 0",)
    assert not empty[:].any()


def test_optional_and_unknown_keys_of_other_programs_are_accepted(tmp_path: Path) -> None:
    data = random(4, 4, 4)
    config = volume(tmp_path, data)
    edit(tmp_path, {"voxel_offset": None, "sharding": None}, mesh="mesh", skeletons="s", segment_properties="p")
    edit(tmp_path, {"size": [4.0, 4.0, 4.0], "hidden": True}, **{"@type": None})
    assert np.array_equal(config.array()[:], data)


@pytest.mark.parametrize("sharded", [None, sharding(preshift_bits=3, data_encoding="raw")])
def test_a_crop_reads_its_chunks_alone(tmp_path: Path, sharded: Any) -> None:
    data = RNG.integers(1, 255, (128, 128, 128), np.uint8)
    array = volume(tmp_path, data, (32, 32, 32), sharding=sharded).array()

    def bytes_read() -> int:
        return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]

    before = bytes_read()
    assert np.array_equal(array[32:96, 20:80, 64:96], data[32:96, 20:80, 64:96])
    assert 6 * 32**3 <= bytes_read() - before < 8 * 32**3


def test_commands_work_on_a_volume_without_a_tree_file(tmp_path: Path, capsys: Any) -> None:
    data = labels("uint32")
    volume(tmp_path / "seg", data, (16, 16, 16), resolution=(40, 4, 4), encoding="compressed_segmentation")
    for path in (tmp_path / "seg", f"precomputed://{tmp_path}/seg"):
        assert run(["info", str(path)]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        for cell in ("seg", "uint32", "41,22,27", "40,4,4 nm", "compressed_segmentation", "precomputed", "unnoticed"):
            assert cell in row
    assert run(["init", str(tmp_path / "seg")]) == 0
    (tmp_path / "tree.toml").write_text(capsys.readouterr().out)
    assert np.array_equal(gpa.load_tree(tmp_path / "tree.toml")["seg"].array()[:], data)


def test_chunks_far_apart_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Grids of very different lengths, of which each position takes another number of bits."""
    shape = (3, 20, 5)
    data = np.arange(1, np.prod(shape) + 1, dtype="uint32").reshape(shape)
    array = volume(tmp_path, data, (1, 1, 1), sharding=sharding(shard_bits=3)).array()
    for position in itertools.product((0, 2), (0, 1, 15, 19), (0, 3, 4)):
        assert array[position] == data[position]


class TestPrecomputedLaws(StoredSourceLaws):
    type = gpa.PrecomputedArrayConfig

    def configs(self, folder: Path) -> Any:
        fields = {"resolution": (4, 2, 2), "begin": (-1, 5, 0)}
        for name, data, more in (
            ("raw", random(5, 6, 7), {}),
            (
                "labels",
                random(5, 6, 7, dtype="uint64"),
                {"encoding": "compressed_segmentation", "kind": "segmentation"},
            ),
            ("colours", random(3, 4, 3, 2), {"encoding": "png", "sharding": SHARDING}),
        ):
            if not (folder / name).exists():
                write_volume(folder / name, data, (2, 3, 4), **fields, **more)
        return [
            gpa.PrecomputedArrayConfig("raw", folder / "raw", ["4 nm", 2, 3]),
            gpa.PrecomputedArrayConfig("labels", folder / "labels", "2_2_4", voxel_size=(3, 2, 2), offset=(1, 0, 0)),
            gpa.PrecomputedArrayConfig("colours", folder / "colours", interpolatable=False),
        ]

    def folder_of(self, config: Any) -> Path:
        return Path(config.file_name)

    def fill_of(self, config: Any) -> Any:
        return 0

    def refused(self) -> Any:
        return [
            lambda: gpa.PrecomputedArrayConfig("a", "a", scale=""),
            lambda: gpa.PrecomputedArrayConfig("a", "a", voxel_size=(0, 1, 1)),
            lambda: gpa.PrecomputedArrayConfig("a", "a", unit="parsec"),
        ]

    def misfits(self, folder: Path) -> Any:
        write_volume(folder / "a", random(3, 4, 5), (2, 2, 2))
        config = gpa.PrecomputedArrayConfig("a", folder / "a")
        return [config.with_fields(voxel_size=(1, 1)), config.with_fields(offset=(1, 1))]


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "png", "jpeg"])
@pytest.mark.parametrize("sharded", [False, True])
def test_chunks_are_decoded_once(tmp_path: Path, encoding: str, sharded: bool) -> None:
    data = labels() if encoding == "compressed_segmentation" else random(9, 11, 13)
    config = volume(tmp_path / "a", data, (4, 8, 8), encoding=encoding, **({"sharding": SHARDING} if sharded else {}))
    with mock.patch.dict(os.environ, GP_ARRAYS_CACHE_BYTES="0"):
        want = config.array()[:]
    assert encoding == "jpeg" or np.array_equal(want, data)
    for number, file in enumerate(sorted((tmp_path / "a").rglob("*"))):
        os.utime(file, (number, number))
    array = config.array()
    assert np.array_equal(array[:], want)
    with mock.patch.object(volumes, "decode", side_effect=AssertionError):
        for box in ((slice(1, 9), slice(3, 11), slice(0, 13)), (slice(8, 9), slice(0, 2), slice(12, 13))):
            assert np.array_equal(config.array()[box], want[box])
    # a file that changed is read again
    for file in (tmp_path / "a").rglob("*"):
        if file.is_file() and file.name != "info":
            file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(gpa.StoreError, match="cannot read; found chunk"):
        array[:]
