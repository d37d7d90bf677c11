"""Tables of ids: files with two columns of integers, an id and the id that replaces it."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import TreeError
from .access.files import SYSTEM_ERRORS, store_errors, writing

logger = logging.getLogger(__name__)

Ids = np.ndarray[Any, Any]

SUFFIXES = (".npy", ".npz", ".csv")
#: The largest table that is read into memory, in bytes. A sorted .npy file is memory-mapped instead.
LARGEST_IN_MEMORY = 2**30
#: Rows of a table that are checked at a time.
ROWS_AT_A_TIME = 2**20
#: How the line begins that `write_dense_table` adds behind the columns.
_NOTE = b'\n{"gp_arrays": "table of ids", '


@attrs.frozen(eq=False)
class IdTable:
    """Ids, and the id that replaces each.

    Attributes:
        ids: uint64, sorted. Equal ids have equal results.
        results: uint64, one for each id.
        largest: The largest result.
        hash: A digest of both columns, whatever file they are in.
    """

    ids: Ids
    results: Ids
    largest: int
    hash: str

    def look_up(self, values: Ids) -> tuple[Ids, Ids]:
        """The result of each uint64 value, and True if the value is in the table. The result of others is 0.

        >>> table_of_columns(np.array([9, 4]), np.array([1, 2])).look_up(np.array([4, 5], np.uint64))
        (array([2, 0], dtype=uint64), array([ True, False]))
        """
        if not len(self.ids):
            return np.zeros(values.shape, np.uint64), np.zeros(values.shape, bool)
        rows = np.minimum(_first_rows(self.ids, values), len(self.ids) - 1)
        listed = np.asarray(self.ids[rows]) == values
        return np.where(listed, self.results[rows], np.uint64(0)), listed


def _first_rows(ids: Ids, values: Ids) -> Ids:
    """For each value the first row whose id is not smaller."""
    if ids.flags.c_contiguous:
        return np.searchsorted(ids, values)
    # numpy would copy the column of a file of rows for every search
    low, high = np.zeros(values.shape, np.int64), np.full(values.shape, len(ids))
    for _ in range(len(ids).bit_length()):
        middle = (low + high) // 2
        smaller = (low < high) & (ids[np.minimum(middle, len(ids) - 1)] < values)
        low, high = np.where(smaller, middle + 1, low), np.where(smaller, high, middle)
    return low


def table_of_columns(ids: Ids, results: Ids) -> IdTable:
    """A table of two columns of integers, in any order.

    Raises TreeError for negative integers, for an id with two results, and for a table that is too large
    to be sorted.
    """
    largest, digest, is_sorted = _check(ids, results)
    if not is_sorted:
        size = ids.nbytes + results.nbytes
        if size > LARGEST_IN_MEMORY:
            raise TreeError("the table is too large to be sorted in memory", f"{size} bytes", "sorted ids")
        ids, results = ids.astype(np.uint64), results.astype(np.uint64)
        order = np.argsort(ids, kind="stable")
        ids, results = ids[order], results[order]
        largest, digest, _ = _check(ids, results)
    return IdTable(_as_uint64(ids), _as_uint64(results), largest, digest)


def _as_uint64(column: Ids) -> Ids:
    """A column that holds nothing negative as uint64, without a copy where that is possible."""
    if column.dtype.itemsize == 8 and column.dtype.isnative:
        return np.asarray(column).view(np.uint64)
    return column.astype(np.uint64)


def _check(ids: Ids, results: Ids) -> tuple[int, str, bool]:
    """The largest result, the digest, and True if the ids are sorted. Only parts of the columns are in memory.

    Raises TreeError for negative integers and, among sorted ids, for one with two results.
    """
    largest, is_sorted = 0, True
    digests = hashlib.sha256(), hashlib.sha256()
    for start in range(0, len(ids), ROWS_AT_A_TIME):
        # with the last row of the part before, because an id may be listed in both parts
        rows = slice(max(start - 1, 0), start + ROWS_AT_A_TIME)
        parts = []
        for column, digest in zip((ids, results), digests, strict=True):
            part = np.asarray(column[rows])
            if part.dtype.kind == "i" and part.min() < 0:
                raise TreeError("an id in the table is negative", found=int(part.min()), allowed="0 to 2^64 - 1")
            part = part.astype(np.uint64)
            digest.update(part[start - rows.start :].astype("<u8").tobytes())
            parts.append(part)
        largest = max(largest, int(parts[1].max()))
        before, after = parts[0][:-1], parts[0][1:]
        is_sorted = is_sorted and bool((before <= after).all())
        contradicting = np.flatnonzero((before == after) & (parts[1][:-1] != parts[1][1:]))
        if contradicting.size:
            row = int(contradicting[0])
            raise TreeError(
                "the table gives one id two results",
                found=f"id {before[row]}: {parts[1][row]} and {parts[1][row + 1]}",
                allowed="one result for each id",
            )
    return largest, hashlib.sha256(b"".join(d.digest() for d in digests)).hexdigest(), is_sorted


def table_of_file(path: Path) -> IdTable:
    """The table in a file: read and checked once, and again only when the file has changed.

    Raises StoreError for a file that cannot be read, TreeError for one that is not a table.
    """
    path = path.absolute()
    problem = "cannot read the table of ids"
    with store_errors(path, problem):
        status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    version_and_table = _tables.get(path)
    if version_and_table is not None and version_and_table[0] == version:
        return version_and_table[1]
    with store_errors(path, problem, (*SYSTEM_ERRORS, EOFError, zipfile.BadZipFile)):
        try:
            table = _read(path, status)
        except TreeError as error:
            raise TreeError(error.problem, f"{error.found} in {path}", error.allowed) from None
    if version_and_table is not None and version_and_table[1].hash != table.hash:
        logger.warning("%s has changed: arrays that were opened before have to be opened again", path)
    _tables[path] = version, table
    return table


_tables: dict[Path, tuple[tuple[int, ...], IdTable]] = {}


def _read(path: Path, status: os.stat_result) -> IdTable:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TreeError("not a table of ids", found=f"the suffix {suffix!r}", allowed=", ".join(SUFFIXES))
    if suffix != ".npy" and status.st_size > LARGEST_IN_MEMORY:
        raise TreeError(
            "the table is too large to be read into memory", found=f"{status.st_size} bytes", allowed="a sorted .npy"
        )
    columns: Ids
    if suffix == ".npy":
        columns, note = np.load(path, mmap_mode="r", allow_pickle=False), _read_note(path)
    else:
        columns, note = _read_csv(path) if suffix == ".csv" else _read_npz(path), {}
    if columns.ndim != 2 or columns.shape[1] != 2 or columns.dtype.kind not in "ui":
        found = f"{columns.dtype} of shape {columns.shape}"
        raise TreeError("not a table of ids", found, "integers of shape (n, 2)")
    ids, results = columns[:, 0], columns[:, 1]
    if note.get("rows") == len(columns) and note["sorted"] and note["written"] == status.st_mtime_ns:
        return IdTable(_as_uint64(ids), _as_uint64(results), note["largest"], note["hash"])
    return table_of_columns(ids, results)


def _read_npz(path: Path) -> Ids:
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            found = f"the arrays {', '.join(archive.files)}"
            raise TreeError("not a table of ids", found, "one array of shape (n, 2)")
        columns: Ids = archive[archive.files[0]]
        return columns


def _read_csv(path: Path) -> Ids:
    """Two integers a line; the first line may hold names of the columns."""
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    first, _, other_lines = text.partition(b"\n")
    has_names = re.match(rb'\s*["#A-Za-z_]', first) is not None
    if has_names:
        text = other_lines
    # whatever else stands there, such as a sign, a point or an exponent, numpy would read through floats
    if text.translate(None, b"0123456789, \r\n"):
        lines = enumerate(text.splitlines(), 2 if has_names else 1)
        number, line = next((n, line) for n, line in lines if line.translate(None, b"0123456789, \r\n"))
        raise TreeError(
            "a line of the table is not two integers",
            found=f"{line[:80].decode(errors='replace')!r} in line {number}",
            allowed="such as 115,7: no fractions, no negatives",
        )
    if not text.strip():
        return np.empty((0, 2), np.uint64)
    return np.loadtxt(io.BytesIO(text), np.uint64, delimiter=",", ndmin=2)


def _read_note(path: Path) -> dict[str, Any]:
    """What `write_dense_table` noted at the end of the file, {} for other files."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1024, 0))
        _, separator, content = file.read().rpartition(_NOTE)
    try:
        note: dict[str, Any] = json.loads(_NOTE + content) if separator else {}
    except ValueError:
        return {}
    return note


def write_dense_table(path: Path, parts: Iterable[Ids]) -> None:
    """Write a table of ids to 1, 2, 3, ...: readers see the complete file, or the one that existed before.

    The file is a .npy that `numpy.load` reads, with one line of JSON behind the columns: rows, the largest
    result, the hash, and the file's modification time. While the time agrees the table need not be checked.

    Args:
        path: Where to write it.
        parts: The ids, sorted, each once, in arrays of uint64.
    """
    with writing(path, "cannot write the table of ids"):
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        try:
            _write(folder / "table", folder / "ids", parts)
            (folder / "table").replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, column: Path, parts: Iterable[Ids]) -> None:
    with column.open("wb") as file:
        for part in parts:
            file.write(part.astype("<u8").tobytes())
    rows = column.stat().st_size // 8
    with path.open("wb") as file, column.open("rb") as ids:
        # one column after the other: each can be searched in the file without a copy
        header = {"descr": "<u8", "fortran_order": True, "shape": (rows, 2)}
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(ids, file, 2**20)
        for start in range(0, rows, ROWS_AT_A_TIME):
            file.write(np.arange(start + 1, min(start + ROWS_AT_A_TIME, rows) + 1, dtype="<u8").tobytes())
    columns = np.load(path, mmap_mode="r")
    largest, digest, is_sorted = _check(columns[:, 0], columns[:, 1])
    # an even number of seconds, which any file system stores exactly, and past, so that a later change has another
    written = (time.time_ns() // 2_000_000_000 - 1) * 2_000_000_000
    note = {"rows": rows, "largest": largest, "hash": digest, "sorted": is_sorted, "written": written}
    with path.open("ab") as file:
        file.write(_NOTE + json.dumps(note)[1:].encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, ns=(written, written))
