"""Chunks that are decoded without zarr: the same voxels and errors; they stay cached while their files do not change."""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import numcodecs
import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.model import threads
from gp_arrays.model.cache import CACHE
from gp_arrays.sources.zarr_opened import ZarrOpened
from gp_arrays.storage.access.stamps import REMOTE_STAMPS
from gp_arrays.storage.chunked import chunk_reader
from gp_arrays.storage.metadata.codecs import Codecs, codecs_of, needed_blocks
from gp_arrays.storage.metadata.documents import read_node
from gp_arrays.testing import digest, read_in_fork

SHAPE, CHUNKS = (9, 14, 11), (4, 8, 5)
ABSENT = (1, 0, 2)
TIMES = itertools.count()
PAGE = 2**21
MAJOR = int(zarr.__version__.split(".")[0])
v3 = pytest.mark.skipif(MAJOR < 3, reason="zarr 2 writes no Zarr v3")

COMPRESSORS: list[dict[str, Any] | None] = [
    None,
    {"id": "zstd", "level": 3},
    *({"id": "blosc", "cname": name, "clevel": 5, "shuffle": shuffle} for name, shuffle in (("lz4", 1), ("zstd", 2))),
    *({"id": name} for name in ("gzip", "zlib", "lz4", "bz2", "lzma")),
]
FILTERS: list[list[dict[str, Any]]] = [
    [],
    [{"id": "delta", "dtype": "<u2"}],
    [{"id": "shuffle", "elementsize": 2}],
    [{"id": "delta", "dtype": "<u2"}, {"id": "shuffle", "elementsize": 2}],
]
DTYPES = ("|u1", "|i1", "|b1", "<u2", ">u2", "<i4", ">u8", "<u8", "<f4", ">f8")


@pytest.fixture(autouse=True)
def bytes_to_keep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "100000000")
    CACHE.clear()
    yield
    CACHE.clear()
    REMOTE_STAMPS.forget()
    with contextlib.suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm("/chunk_reader", recursive=True)


def voxels_of(dtype: str) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(0).integers(0, 2**63, SHAPE).view(np.uint64) * np.uint64(2)
    return values.astype(np.dtype(dtype).newbyteorder("="))


def write_v2(folder: Path, data: np.ndarray[Any, Any], **fields: Any) -> np.ndarray[Any, Any]:
    """Write an array without zarr; one chunk stays absent. Returns its voxels."""
    document: dict[str, Any] = {
        "zarr_format": 2,
        "shape": list(data.shape),
        "chunks": list(CHUNKS),
        "dtype": data.dtype.str,
        "order": "C",
        "fill_value": 1,
        "filters": None,
        "compressor": None,
        "dimension_separator": ".",
        **fields,
    }
    folder.mkdir(parents=True)
    (folder / ".zarray").write_text(json.dumps(document))
    (folder / ".zattrs").write_text(json.dumps({"offset": [0, 0, 0], "resolution": [1, 1, 1]}))
    padded = np.zeros([-(-n // c) * c for n, c in zip(data.shape, CHUNKS, strict=True)], document["dtype"])
    padded[tuple(map(slice, data.shape))] = data
    want = data.copy()
    for position in np.ndindex(*(n // c for n, c in zip(padded.shape, CHUNKS, strict=True))):
        index = tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, CHUNKS, strict=True))
        if position == ABSENT:
            want[index] = {"NaN": np.nan}.get(document["fill_value"], document["fill_value"])
            continue
        encoded: Any = np.asarray(padded[index], order=document["order"])
        if document["filters"]:
            encoded = np.frombuffer(encoded.tobytes(order=document["order"]), document["dtype"])
        for config in [*(document["filters"] or []), document["compressor"] or {"id": "raw"}]:
            encoded = encoded if config["id"] == "raw" else numcodecs.get_codec(config).encode(encoded)
        file = folder / document["dimension_separator"].join(map(str, position))
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = encoded.tobytes(order=document["order"]) if isinstance(encoded, np.ndarray) else bytes(encoded)
        file.write_bytes(raw)
        make_old(file)
    return want


def make_old(file: Path) -> None:
    """Set the modification time of a file to a time long ago, another one for each file."""
    when = 1_000_000_000 + next(TIMES)
    os.utime(file, (when, when))


def boxes(count: int) -> Iterator[tuple[slice, ...]]:
    rng = np.random.default_rng(3)
    yield tuple(map(slice, SHAPE))
    for _ in range(count):
        pairs = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in SHAPE]
        yield tuple(slice(a, b) for a, b in pairs)


def check(folder: Path, want: np.ndarray[Any, Any]) -> None:
    """The voxels, read with and without the cache, are those that were written and those that zarr reads."""
    array = gpa.open_zarr(folder.parent, folder.name)
    opened = array.plan.steps[0].opened
    assert isinstance(opened, ZarrOpened)
    assert opened._chunk_reader is not None
    by_zarr = opened._array
    for box in boxes(6):
        expected = want[box]
        for voxels in (array[box], array[box], by_zarr[box]):
            assert voxels.dtype.newbyteorder("=") == expected.dtype
            assert np.array_equal(voxels, expected, equal_nan=expected.dtype.kind == "f")
    fsspec.filesystem("memory").put(str(folder), "/chunk_reader/a", recursive=True)
    remote = gpa.open_zarr("memory://chunk_reader", "a")
    assert remote.plan.steps[0].opened._chunk_reader is not None
    for box in boxes(2):
        assert remote[box].tobytes() == remote[box].tobytes() == want[box].tobytes()
    gpa.set_cache_bytes(0)
    try:
        assert remote[:].tobytes() == want.tobytes()
        assert array[:].tobytes() == want.tobytes()
    finally:
        gpa.set_cache_bytes(None)


@pytest.mark.parametrize(("order", "separator"), [("C", "."), ("F", "/")])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda each: (each or {"id": "raw"})["id"])
def test_compressors_and_orders(tmp_path: Path, compressor: Any, order: str, separator: str) -> None:
    data = voxels_of("<u4")
    fields = {"compressor": compressor, "order": order, "dimension_separator": separator}
    check(tmp_path / "s.zarr/a", write_v2(tmp_path / "s.zarr/a", data, **fields))


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_blosc_that_are_not_needed_are_not_decoded(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of the slowest axis is two blocks."""
    monkeypatch.setattr(f"{__name__}.CHUNKS", SHAPE)
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    data = np.arange(np.prod(SHAPE), dtype=np.uint64).reshape(SHAPE)
    rows = SHAPE[0 if order == "C" else 2]
    compressor = {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": data.nbytes // rows // 2}
    write_v2(tmp_path / "s.zarr/a", data, compressor=compressor, order=order)
    array = gpa.open_zarr(tmp_path / "s.zarr", "a")
    for box in boxes(30):
        assert np.array_equal(array[box], data[box])
    chunk = (tmp_path / "s.zarr/a/0.0.0").read_bytes()
    row = data.nbytes // rows
    for begin, end in itertools.combinations(range(rows + 1), 2):
        part, span = needed_blocks(chunk, begin * row, end * row)
        assert (span.start, span.stop) == (begin * row, end * row)
        assert bytes(numcodecs.Blosc().decode(part)) == data.tobytes(order=order)[span]
    assert needed_blocks(chunk, row - 1, row)[1] == slice(row // 2, row)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compressor", COMPRESSORS[:3], ids=["raw", "zstd", "blosc"])
def test_dtypes(tmp_path: Path, compressor: Any, dtype: str) -> None:
    fields = {"compressor": compressor, "dtype": dtype, "fill_value": "NaN" if "f" in dtype else 1}
    check(tmp_path / "s.zarr/a", write_v2(tmp_path / "s.zarr/a", voxels_of(dtype), **fields))


@pytest.mark.parametrize("filters", FILTERS, ids=lambda each: "-".join(f["id"] for f in each) or "none")
@pytest.mark.parametrize("compressor", COMPRESSORS[:2], ids=["raw", "zstd"])
def test_filters(tmp_path: Path, compressor: Any, filters: Any) -> None:
    fields = {"compressor": compressor, "filters": filters or None}
    check(tmp_path / "s.zarr/a", write_v2(tmp_path / "s.zarr/a", voxels_of("<u2"), **fields))


def write_v3(folder: Path, data: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
    array = zarr.create_array(
        str(folder), shape=SHAPE, dtype=data.dtype, fill_value=7, attributes={"resolution": [1, 1, 1]}, **options
    )
    size = options.get("shards", options["chunks"])
    want = data.copy()
    for position in np.ndindex(*(-(-n // s) for n, s in zip(SHAPE, size, strict=True))):
        index = tuple(slice(p * s, (p + 1) * s) for p, s in zip(position, size, strict=True))
        if position == (0, 1, 0):
            want[index] = 7
        else:
            array[index] = data[index]
    inner = tuple(map(slice, CHUNKS))
    array[inner] = 7  # within a shard it is then absent
    want[inner] = 7
    for file in folder.rglob("c/**/*"):
        make_old(file)
    return want


def v3_codecs() -> Mapping[str, Mapping[str, Any]]:
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    transposed = TransposeCodec(order=(2, 0, 1))
    return {
        "raw": {"compressors": None},
        "zstd": {"compressors": ZstdCodec(level=3)},
        "gzip": {"compressors": GzipCodec()},
        "blosc": {"compressors": BloscCodec(cname="zstd", shuffle="bitshuffle")},
        "checksum": {"compressors": [ZstdCodec(), Crc32cCodec()]},
        "checksum alone": {"compressors": Crc32cCodec()},
        "transposed": {"compressors": BloscCodec(), "filters": transposed},
        "big-endian": {"compressors": ZstdCodec(), "filters": transposed, "serializer": BytesCodec(endian="big")},
        "v2 keys": {"compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    }


@v3
@pytest.mark.parametrize("shards", [None, (8, 16, 10)])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "uint16") for name in (v3_codecs() if MAJOR > 2 else ())),
        *((name, dtype) for name in ("zstd", "big-endian") for dtype in ("uint8", "uint64", "float32")),
    ],
)
def test_v3(tmp_path: Path, name: str, shards: Any, dtype: str) -> None:
    folder = tmp_path / "s.zarr/a"
    sharded = {} if shards is None else {"shards": shards}
    want = write_v3(folder, voxels_of(dtype), chunks=CHUNKS, **sharded, **v3_codecs()[name])
    check(folder, want)


@v3
@pytest.mark.parametrize("location", ["start", "end"])
def test_the_index_of_a_shard_is_at_either_end(tmp_path: Path, location: str) -> None:
    from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec

    sharding = ShardingCodec(chunk_shape=CHUNKS, codecs=[BytesCodec(), ZstdCodec()], index_location=location)
    folder = tmp_path / "s.zarr/a"
    check(folder, write_v3(folder, voxels_of("uint32"), chunks=(8, 16, 10), serializer=sharding, compressors=None))


@v3
def test_other_codecs_are_left_to_zarr(tmp_path: Path) -> None:
    from zarr.codecs import BytesCodec, ShardingCodec, TransposeCodec

    nested = ShardingCodec(chunk_shape=(8, 16, 10), codecs=[ShardingCodec(chunk_shape=CHUNKS)])
    twice = [TransposeCodec(order=(2, 0, 1)), TransposeCodec(order=(0, 2, 1))]
    stores: list[dict[str, Any]] = [
        {"chunks": CHUNKS, "filters": twice, "serializer": BytesCodec()},
        {"chunks": (8, 16, 20), "serializer": nested},
    ]
    for number, options in enumerate(stores):
        folder = tmp_path / f"s.zarr/{number}"
        want = write_v3(folder, voxels_of("uint32"), compressors=None, **options)
        node = read_node(folder.parent, folder.name)
        assert node is not None
        assert codecs_of(node) is None
        assert np.array_equal(gpa.open_zarr(folder.parent, folder.name)[:], want)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_v2(tmp_path / "s.zarr/a", voxels_of("<u4"), compressor={"id": "zstd"}, fill_value=5)
    return tmp_path / "s.zarr/a"


@pytest.fixture
def decoded() -> Iterator[list[int]]:
    """One entry for each chunk that is decoded."""
    calls: list[int] = []
    decode = Codecs.decode

    def counting(self: Codecs, *rest: Any) -> Any:
        calls.append(1)
        return decode(self, *rest)

    with mock.patch.object(Codecs, "decode", counting):
        yield calls


def opened(folder: Path, mode: str = "r") -> gpa.Array:
    return gpa.open_zarr(folder.parent, folder.name, mode=mode)


def test_a_chunk_is_decoded_once(folder: Path, decoded: list[int]) -> None:
    array = opened(folder)
    array[0:5, 0:9, 0:6][...] = 0  # the caller may change the voxels that it got
    assert len(decoded) == 8
    for box in boxes(20):
        assert np.array_equal(opened(folder)[box], array[box])
    assert len(decoded) == 3 * 2 * 3 - 1
    with mock.patch.dict(os.environ, GP_ARRAYS_CACHE_BYTES="0"):
        array[0:5, 0:9, 0:6]
    assert len(decoded) == 3 * 2 * 3 - 1 + 8


@pytest.mark.parametrize("cache_bytes", ["0", "100000000"])
def test_chunks_larger_than_a_huge_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_bytes: str) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", cache_bytes)
    roi = gpa.Roi((0, 0, 0), (200, 200, 200))
    chunks = (100, 150, 199)  # 3 MB less some pages
    written = gpa.create_zarr(tmp_path / "a.zarr", "a", roi, (1, 1, 1), "uint8", chunks=chunks, compressor="zstd")
    voxels = np.random.default_rng(0).integers(0, 256, (25, 25, 25), np.uint8).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    written[:] = voxels
    array = gpa.open_zarr(tmp_path / "a.zarr", "a")
    for _ in range(2):
        np.testing.assert_array_equal(array[:], voxels)
        assert read_in_fork(array) == digest(voxels)


def test_a_chunk_that_changed_on_disk_is_read_again(folder: Path, decoded: list[int]) -> None:
    array = opened(folder)
    before = array[:]
    new = np.full(CHUNKS, 9, "<u4")
    (folder / "0.0.0").write_bytes(numcodecs.Zstd(level=1).encode(new))
    for each in (array, opened(folder)):
        after = each[:]
        assert (after[:4, :8, :5] == 9).all()
        assert np.array_equal(after[4:], before[4:])
    # a file of this moment may be written again without another modification time
    (folder / "0.0.0").write_bytes(numcodecs.Zstd(level=1).encode(new + np.uint32(1)))
    assert array[0, 0, 0] == 10
    count = len(decoded)
    make_old(folder / "0.0.0")
    array[0, 0, 0]
    array[0, 0, 0]
    assert len(decoded) == count + 1


def test_chunks_that_may_change_are_not_cached(folder: Path, decoded: list[int]) -> None:
    array = opened(folder, "r+")
    array[:4, :8, :5] = 3
    assert (array[:4, :8, :5] == 3).all()
    array[:4, :8, :5]
    assert CACHE.nbytes == 0
    assert len(decoded) == 2


def test_a_pass_over_blocks_caches_no_chunk(folder: Path) -> None:
    gpa.count(gpa.ZarrArrayConfig("a", folder.parent, "a"))
    assert CACHE.nbytes == 0


def test_a_store_that_vanishes_is_noticed_although_chunks_are_cached(folder: Path) -> None:
    array = opened(folder)
    array[:]
    folder.rename(folder.with_name("b"))
    with pytest.raises(gpa.StoreError, match="vanished"):
        array[:]


@pytest.mark.parametrize("cache_bytes", ["0", "100000000"])
def test_broken_chunks_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch, cache_bytes: str) -> None:
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", cache_bytes)
    good = (folder / "1.1.1").read_bytes()
    smaller = numcodecs.Zstd().encode(np.zeros(10, "<u4"))
    larger = numcodecs.Zstd().encode(np.zeros((5, 8, 5), "<u4"))
    array = opened(folder)
    for bad in (good[:-5], good[:3], b"", smaller, larger, b"nonsense" * 9):
        (folder / "1.1.1").write_bytes(bad)
        make_old(folder / "1.1.1")
        with pytest.raises(
            gpa.StoreError, match=r"^a: cannot read; found chunk 1\.1\.1 of .*s\.zarr/a: \w+: "
        ) as caught:
            array[:]
        assert "\n" not in str(caught.value)
        assert array[0, 0, 0] == voxels_of("<u4")[0, 0, 0]
    (folder / "1.1.1").write_bytes(good)
    assert np.array_equal(array[4:8, 8:, 5:10], voxels_of("<u4")[4:8, 8:, 5:10])


@v3
def test_broken_shards_are_named(tmp_path: Path) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    folder = tmp_path / "s.zarr/a"
    write_v3(folder, voxels_of("uint32"), chunks=CHUNKS, shards=(8, 16, 10), compressors=[ZstdCodec(), Crc32cCodec()])
    shard = folder / "c/0/0/0"
    good = shard.read_bytes()
    flipped = [bytearray(good), bytearray(good)]
    flipped[0][10] ^= 1
    flipped[1][-10] ^= 1
    for bad in (good[:-1], good[:50], b"", *map(bytes, flipped), good[: len(good) // 3] + good[-200:]):
        shard.write_bytes(bad)
        make_old(shard)
        with pytest.raises(gpa.StoreError, match=r"chunk c/0/0/0 of .*s\.zarr/a: "):
            gpa.open_zarr(folder.parent, "a")[:]


def test_threads_share_the_chunks_to_decode() -> None:
    seen: list[Any] = []
    with mock.patch.object(threads, "thread_count", return_value=3):
        threads.run_each(seen.append, range(1000))
        assert sorted(seen) == list(range(1000))

        def fail(item: int) -> None:
            seen.append(item)
            raise OSError(str(item))

        seen.clear()
        with pytest.raises(OSError, match="^[0-3]$"):
            threads.run_each(fail, range(1000))
        assert len(seen) <= 3


def test_one_thread_in_a_process_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("DAISY_CONTEXT", "worker_id=1")
    assert threads.thread_count() == 1
    monkeypatch.delenv("DAISY_CONTEXT")
    with mock.patch("multiprocessing.parent_process", return_value=object()):
        assert threads.thread_count() == 1


def test_many_threads_and_forks(folder: Path) -> None:
    array, want = opened(folder), opened(folder)[:]
    CACHE.clear()
    wrong: list[Any] = []

    def read() -> None:
        wrong.extend(box for box in boxes(20) if not np.array_equal(array[box], want[box]))

    with mock.patch.object(threads, "thread_count", return_value=3):
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert wrong == []
        read_in_fork(array.config)


def test_sizes_of_frames() -> None:
    from gp_arrays.storage.metadata.codecs import _size_of_blosc, _size_of_zstd

    for size in (1, 255, 256, 257, 65791, 65792, 10**6):
        data = bytes(size)
        assert _size_of_blosc(numcodecs.Blosc().encode(data)) == size
        for level, checksum in itertools.product((1, 9), (False, True)):
            frame = numcodecs.Zstd(level=level, checksum=checksum).encode(data)
            assert _size_of_zstd(frame) in (size, None)
            assert size < 18 or _size_of_zstd(frame) == size


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no huge pages to ask for")
def test_memory_of_chunks_is_used_again_only_when_no_array_refers_to_it() -> None:
    with mock.patch.object(chunk_reader, "SPARE", []):
        memory = chunk_reader.new_memory(PAGE)
        address, view = memory.ctypes.data, memory.view(np.uint64).reshape(64, 64, 64).transpose()[1:, 2:]
        view[...] = 7
        del memory
        others = [chunk_reader.new_memory(PAGE) for _ in range(3)]
        for other in others:
            other[:] = 1
        assert address not in [other.ctypes.data for other in others]
        assert (view == 7).all()
        del view
        assert chunk_reader.new_memory(PAGE).ctypes.data == address
        del other, others
        assert len(chunk_reader.SPARE) == 4
        assert chunk_reader.new_memory(2 * PAGE).nbytes == 2 * PAGE


def test_few_bytes_of_memory_are_spare() -> None:
    with mock.patch.object(chunk_reader, "SPARE", []):
        arrays = [chunk_reader.new_memory(PAGE) for _ in range(40)]
        del arrays
        assert sum(map(len, chunk_reader.SPARE)) <= 2**26
