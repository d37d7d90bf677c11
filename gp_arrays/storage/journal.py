"""Which blocks of a job are done, as its workers recorded it, and the mark of an output that is not finished.

A worker appends to a journal of its own in the state folder of the job: one record when it starts a block, one when its
voxels are written, one when it failed. That is the only form of "done". At checkpoints the master folds journals into
one bitmap for each pass. This module lies below the sources, so that an unfinished output can be read as far as it is done.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import StoreError
from .access.remote import RemotePath, StorePath
from .metadata.documents import ArrayNode, Node, read_json, read_node

#: The kinds of records. LEFT is of no block: the worker has nothing more to do.
STARTED, DONE, FAILED, LEFT = 1, 2, 3, 4
RECORD = struct.Struct("<QII")
RECORDS: Any = np.dtype([("block", "<u8"), ("kind", "<u4"), ("check", "<u4")])

JOURNALS = "journals"
#: Folders of bitmaps in a state: blocks whose voxels are on disk for sure, and blocks that need no work.
SAFE, EMPTY = "done", "empty"
#: The file that names the start of the machine under which the last run began.
BOOT = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Ends the name of the folder, beside a store, that holds the states of its jobs.
STATES = ".gp_arrays"
#: The attribute of an output whose job is not done.
MARK = "gp_arrays_unfinished"

Grid = np.ndarray[Any, Any]


def check_words(blocks: Any, kinds: Any) -> Any:
    """A word for each record that tells it from zeros and from a record that was torn."""
    mixed = (blocks ^ (kinds * np.uint64(0xD6E8FEB86659FD93))) ^ np.uint64(0x5BF03635F0A5B2C7)
    return ((mixed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)).astype(np.uint32)


class Journal:
    """The journal of one worker, to be written. Raises OSError where the disk has no space for a record."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        self._end = 0

    def add(self, kind: int, block: int = 0) -> None:
        """Append a record. A part of one that did not fit is written over by the next."""
        check = check_words(np.array([block], np.uint64), np.array([kind], np.uint64))[0]
        record = RECORD.pack(block, kind, int(check))
        if os.pwrite(self._file, record, self._end) != RECORD.size:
            raise OSError(f"no space for a record of block {block}")
        self._end += RECORD.size

    def close(self) -> None:
        os.close(self._file)


def read_records(path: Path) -> Any:
    """The records of a journal, torn ones and zeros left out; none where there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    records = np.frombuffer(data, RECORDS, len(data) // RECORD.size)
    right = check_words(records["block"].astype(np.uint64), records["kind"].astype(np.uint64)) == records["check"]
    return records[right]


def read_journals(state: Path, name: str, run: str = "") -> dict[str, Any]:
    """The records of the workers of a pass, by the name of their journal. ``run`` picks those of one run."""
    try:
        paths = sorted((state / JOURNALS / name).glob(f"{run}*"))
    except FileNotFoundError:
        paths = []
    return {path.name: read_records(path) for path in paths}


def blocks_with(records: Any, kind: int, count: int) -> Grid:
    """How many records of a kind each block has."""
    blocks = records["block"][records["kind"] == kind]
    return np.bincount(blocks[blocks < count].astype(np.int64), minlength=count)


def this_start() -> str | None:
    """Names this machine and this start of it; None where the system does not say."""
    try:
        return f"{socket.gethostname()} {BOOT_ID.read_text(encoding='ascii').strip()}"
    except OSError:
        return None


def machine_restarted(state: Path) -> bool:
    """True if this machine was started again since the last run began: voxels of recorded blocks may be lost."""
    now = this_start()
    try:
        then = (state / BOOT).read_text(encoding="utf-8")
    except OSError:
        return False
    return now is not None and then != now and then.split(" ")[0] == now.split(" ")[0]


def read_bitmap(state: Path, kind: str, name: str, grid: Sequence[int]) -> Grid:
    """A bool grid that the master saved of a pass; all False if the file is missing or damaged."""
    count = math.prod(grid)
    try:
        packed = np.frombuffer((state / kind / name).read_bytes(), np.uint8)
    except FileNotFoundError:
        packed = np.zeros(0, np.uint8)
    if packed.size != -(-count // 8):
        return np.zeros(tuple(grid), bool)
    return np.unpackbits(packed, count=count).astype(bool).reshape(tuple(grid))


def read_done(state: Path, name: str, grid: Sequence[int]) -> Grid:
    """Which blocks of a pass are done, as a bool grid."""
    journals = {} if machine_restarted(state) else read_journals(state, name)
    # bitmaps last: the master deletes a journal only after its records are in the bitmap
    done = read_bitmap(state, SAFE, name, grid)
    for records in journals.values():
        done |= (blocks_with(records, DONE, done.size) > 0).reshape(done.shape)
    return done


@attrs.frozen
class Mark:
    """What the attributes of an unfinished output say of its job. Lengths are in voxels, along the spatial axes.

    Attributes:
        job: The id of the job.
        dataset: The path of the array in the store.
        state: The state folder: its name in the folder of states beside the store, or an absolute path.
        pass_name: The pass that writes the output.
        begin: Where the first block begins, in voxels of the output.
        block, grid: The shape of a block, and the number of blocks.
    """

    job: str
    dataset: str
    state: str
    pass_name: str
    begin: tuple[int, ...]
    block: tuple[int, ...]
    grid: tuple[int, ...]

    @classmethod
    def of(cls, node: Node) -> Mark | None:
        """The mark of an array, None where its job is done or there was none. Raises StoreError where it is damaged."""
        value = node.attrs.get(MARK)
        if value is None:
            return None
        try:
            shapes = [tuple(map(int, value[key])) for key in ("begin", "block", "grid")]
            begin, block, grid = shapes
            most = len(node.shape) if isinstance(node, ArrayNode) else len(begin)
            if not len(begin) == len(block) == len(grid) <= most or min(*block, *grid) < 1:
                raise ValueError(f"no blocks of such an array: {shapes}")
            job, dataset, state, pass_name = (str(value[key]) for key in ("job", "dataset", "state", "pass_name"))
            return cls(job, dataset, state, pass_name, begin, block, grid)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError("the mark of an unfinished output is damaged", found=f"{node.path}: {error!r}") from None

    def document(self) -> Mapping[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in attrs.asdict(self).items()}

    def folder(self, array: StorePath) -> Path | None:
        """The state of the job that writes an array; None where it is not there, or is another store's."""
        for store in self._stores(array):
            folder = Path(f"{store}{STATES}") / self.state
            try:
                job = read_json(folder / "job.json")
            except StoreError:
                continue
            # a state elsewhere belongs to one store: it does not describe a copy of that store
            beside = not Path(self.state).is_absolute()
            if job is not None and job.get("id") == self.job and (beside or job.get("root") == str(store)):
                return folder
        return None

    def _stores(self, array: StorePath) -> Iterator[StorePath]:
        """The stores that an array may be the output of."""
        if isinstance(array, RemotePath):
            if f"/{array.url}".endswith(f"/{self.dataset}"):
                yield RemotePath(array.url.removesuffix(self.dataset).rstrip("/"), array.options)
            return
        parts = Path(self.dataset).parts
        # the array may be opened through a link, or as a part of a group
        for path in (array.resolve(), array.absolute()):
            if path.parts[len(path.parts) - len(parts) :] == parts:
                yield Path(*path.parts[: len(path.parts) - len(parts)])

    def readable(self, folder: Path) -> Grid:
        """Which blocks may be read: done, or known to be empty."""
        done = read_done(folder, self.pass_name, self.grid)
        return done | read_bitmap(folder, EMPTY, self.pass_name, self.grid)


class Unfinished:
    """Watches an output whose job was not done when it was opened, and sees the job finish."""

    def __init__(self, root: StorePath, node: Node, mark: Mark) -> None:
        self.root, self.path, self.mark = root, node.path, mark
        self.finished = False
        self._folder = mark.folder(root / node.path)
        # blocks that are done stay done, so the journals are read again only for others
        self._readable: Grid = np.zeros(mark.grid, bool)

    @classmethod
    def of(cls, root: StorePath, node: Node) -> Unfinished | None:
        """None for an array that is finished, or that no job wrote."""
        mark = Mark.of(node)
        return None if mark is None else cls(root, node, mark)

    def is_that_of(self, mark: Mark) -> bool:
        """True if a mark is the one that this array had when it was opened."""
        return not self.finished and mark == self.mark

    def require_done(self, index: Sequence[slice | int]) -> None:
        """Raises StoreError where voxels are in blocks that are not done. ``index`` is along the axes of the store.

        Where the state of the job is not there, nothing is refused: see ``require_present``.
        """
        if self.finished:
            return
        spatial = [
            part if isinstance(part, slice) else slice(part, part + 1) for part in index[-len(self.mark.begin) :]
        ]
        blocks = tuple(
            slice((part.start - begin) // size, -((begin - part.stop) // size))
            for part, begin, size in zip(spatial, self.mark.begin, self.mark.block, strict=True)
        )
        if self._readable[blocks].all():
            return
        self._look_again()
        if self.finished or self._folder is None or self._readable[blocks].all():
            return
        first = tuple((np.argwhere(~self._readable[blocks])[0] + [part.start for part in blocks]).tolist())
        corner = [b + i * s for b, i, s in zip(self.mark.begin, first, self.mark.block, strict=True)]
        box = ", ".join(f"{max(c, 0)}:{c + s}" for c, s in zip(corner, self.mark.block, strict=True))
        raise StoreError(
            "these voxels are not written yet: the job that writes this array is not done",
            found=f"{self.root}/{self.path}, voxels [{box}], {self.progress()}",
            allowed=f"run the same materialize again until it is done; state {self._folder}",
        )

    def require_present(self) -> None:
        """Raises StoreError for an absent chunk, where no state says whether its block is done."""
        self._look_again()
        if not self.finished and self._folder is None:
            raise StoreError(
                "a chunk is absent in an array whose job is not done",
                found=f"{self.root}/{self.path}; its job has no state {self.mark.state} there",
                allowed="bring the state folder back beside the store and run the same materialize again, "
                "or accept absent chunks as empty with `gp-arrays finish --accept-absent`",
            )

    def progress(self) -> str:
        """How far the job is, as text."""
        if self._folder is None:
            return "the state of its job is not there"
        readable = self.mark.readable(self._folder)
        return f"{int(readable.sum())} of {readable.size} blocks done"

    def _look_again(self) -> None:
        node = read_node(self.root, self.path)
        self.finished = self.finished or (node is not None and Mark.of(node) is None)
        if not self.finished:
            self._folder = self.mark.folder(self.root / self.path)
        if not self.finished and self._folder is not None:
            self._readable = self.mark.readable(self._folder)
