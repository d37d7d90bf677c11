"""Tables of the ids of whole sources: made once, kept, and the same for whoever asks."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ComputeError
from ..model.base import ArrayConfig
from ..model.evaluate import evaluate
from ..model.meta import Region, world_text
from ..model.plan import Plan, compile_plan
from ..storage.files import replace_file

logger = logging.getLogger(__name__)

Ids = np.ndarray[Any, Any]

#: Names the folder that tables are kept in.
CACHE_VARIABLE = "GP_ARRAYS_CACHE"
#: Bytes of a source that are looked at at once while its table is made.
AT_ONCE = 32 * 2**20
_MAGIC = b"gp_arrays ids 1\n"


def run_starts(flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where runs of equal values begin. Labels come in long runs, and those are few.

    >>> run_starts(np.array([5, 5, 0, 5])).tolist()
    [0, 2, 3]
    """
    begins = np.empty(flat.shape, bool)
    begins[:1] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    return np.flatnonzero(begins)


def rank(labels: np.ndarray[Any, Any], ids: Ids) -> tuple[Ids, int | None]:
    """uint64: 1 + the position of each label among sorted ``ids``; 0 stays 0.

    Also returns the flat index of a label that is not among them, or None.

    >>> rank(np.array([0, 9, 7, 9]), np.array([7, 9], np.uint64))
    (array([0, 2, 1, 2], dtype=uint64), None)
    """
    flat = np.ascontiguousarray(labels).reshape(-1)
    starts = run_starts(flat)
    values = flat[starts].astype(np.uint64)
    ranks = np.searchsorted(ids, values).astype(np.uint64)
    known = np.zeros(values.shape, bool)
    inside = ranks < len(ids)
    known[inside] = ids[ranks[inside]] == values[inside]
    ranks += np.uint64(1)
    ranks[values == 0] = 0
    unknown = np.flatnonzero(~known & (values != 0))
    lengths = np.diff(starts, append=flat.size)
    return np.repeat(ranks, lengths).reshape(labels.shape), int(starts[unknown[0]]) if unknown.size else None


class IdTable:
    """The ids of a source, sorted: found in memory or in a file, or made by one pass over the source.

    Attributes:
        key: Tells this table from that of another source, or of the source once it changed.
        lasting: Whether the key means the same in another process, so that a file may be kept.
    """

    def __init__(self, source: ArrayConfig, unit: str) -> None:
        self.plan = compile_plan({source.name: source}, unit)
        self.index = self.plan.outputs[source.name]
        prints = [step.opened.fingerprint() for step in self.plan.steps if step.opened is not None]
        geometry = [f"{s.meta.region} {tuple(s.meta.voxel_size)} {s.meta.dtype}" for s in self.plan.steps]
        self.lasting = None not in prints
        said = json.dumps([source.content, unit, prints, geometry])
        self.key = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
        self.checked = True
        self._ids: Ids | None = None

    def ids(self) -> Ids:
        """The ids, uint64, sorted, without 0."""
        if self._ids is None:
            with _lock:
                if self._ids is None:
                    self._ids = self._find()
        return self._ids

    def _find(self) -> Ids:
        cache = cache_directory() if self.lasting else None
        for place in (*_places, *([cache] if cache else [])):
            ids = load(place / self.file_name)
            if ids is not None:
                return ids
        ids = collect(self.plan, self.index)
        if cache:
            try:
                self.save(cache, ids)
            except OSError as error:
                logger.info("the table of ids is kept in memory only: %s", error)
        ids.flags.writeable = False
        return ids

    @property
    def file_name(self) -> str:
        return f"{self.key}.ids"

    def save(self, directory: Path, ids: Ids | None = None) -> Path:
        """Write the table to a folder, whole or not at all."""
        payload = (self.ids() if ids is None else ids).astype("<u8").tobytes()
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self.file_name
        replace_file(path, _MAGIC + _digest(payload) + payload)
        return path


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()


def load(path: Path) -> Ids | None:
    """The ids of a table file; None where there is none, or one that is not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head, payload = data[: len(_MAGIC) + 16], data[len(_MAGIC) + 16 :]
    if head != _MAGIC + _digest(payload) or len(payload) % 8:
        logger.warning("%s is damaged: the table of ids is made again", path)
        return None
    ids: Ids = np.frombuffer(payload, "<u8")
    native: Ids = ids.astype(np.uint64, copy=False)
    return native


def cache_directory() -> Path | None:
    """Where tables are kept: what the environment says, else the user's cache, if there is a home.

    Its files may be deleted at any time.
    """
    said, base = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME")
    try:
        if said:
            return Path(said).expanduser()
        return Path(base or "~/.cache").expanduser() / "gp_arrays"
    except RuntimeError:  # no home
        return None


def collect(plan: Plan, index: int) -> Ids:
    """The ids of a whole step, sorted, without 0: one pass, a block at a time.

    Raises ComputeError for negative ids.
    """
    meta = plan.steps[index].meta
    ids: Ids = np.empty(0, np.uint64)
    pending: list[Ids] = []
    count = 0
    for region in _blocks(plan, index):
        (block,) = evaluate(plan, [(index, region)])
        flat = block.reshape(-1)
        starts = run_starts(flat)
        values = np.unique(flat[starts])
        if values[0] < 0:
            at = np.unravel_index(int(flat.argmin()), block.shape)
            place = [b + int(i) * v for b, i, v in zip(region.begin, at, meta.voxel_size, strict=True)]
            raise ComputeError(
                "an id is negative",
                found=f"{values[0]} at {world_text(place, meta.unit)}",
                allowed="ids above 0 in a dense source",
                path=plan.path(index),
            )
        pending.append(values.astype(np.uint64))
        count += values.size
        # merging costs in proportion to what is known, so wait until as much is new
        if count > max(2**16, ids.size):
            ids, pending, count = np.unique(np.concatenate([ids, *pending])), [], 0
    ids = np.unique(np.concatenate([ids, *pending]))
    return ids[1:] if ids.size and ids[0] == 0 else ids


def _blocks(plan: Plan, index: int) -> Iterator[Region]:
    """Regions that cover a step: whole chunks where they are known, about ``AT_ONCE`` bytes each."""
    meta = plan.steps[index].meta
    shape = meta.spatial_shape
    assert meta.dtype is not None
    chunks = next(
        (s.opened.chunks[-meta.dims :] for s in plan.steps if s.opened is not None and s.opened.chunks is not None),
        (64,) * meta.dims,
    )
    size = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    for axis in reversed(range(meta.dims)):
        fitting = AT_ONCE // (int(np.prod(size, dtype=object)) * meta.dtype.itemsize)
        size[axis] = min(shape[axis], size[axis] * max(1, fitting))
    begin = meta.region.begin
    for corner in itertools.product(*(range(0, n, s) for n, s in zip(shape, size, strict=True))):
        low = tuple(b + c * v for b, c, v in zip(begin, corner, meta.voxel_size, strict=True))
        high = tuple(low[i] + size[i] * meta.voxel_size[i] for i in range(meta.dims))
        yield Region(low, high).intersect(meta.region)


_lock = threading.RLock()
_known: dict[tuple[str, str], IdTable] = {}
_places: list[Path] = []


def _after_fork() -> None:
    # another thread may have held the lock when the process was copied
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def look_in(directory: str | Path) -> None:
    """Look for tables in a folder first, as a worker does in the one beside its output."""
    if Path(directory) not in _places:
        _places.append(Path(directory))


def table_of(source: ArrayConfig, unit: str) -> IdTable:
    """The table of a source; its ids are found or made when they are first asked for."""
    key = source.content, unit
    known = _known.get(key)
    if known is not None and known.checked:
        return known
    with _lock:
        table = IdTable(source, unit)
        known = _known.get(key)
        if known is not None and known.key == table.key and table.lasting:
            known.checked = True
            return known
        _known[key] = table
        return table


def check_again(source: ArrayConfig, unit: str) -> None:
    """Have ``table_of`` look, when next asked, whether the source changed since its table was made."""
    known = _known.get((source.content, unit))
    if known is not None:
        known.checked = False
