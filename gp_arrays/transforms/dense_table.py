"""Tables that give all ids of an array the results 1, 2, 3, ..."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ComputeError, ConfigError, errors_at
from ..model import fields
from ..model.absent import map_blocks
from ..model.base import ArrayConfig
from ..model.checks import require_integer_ids
from ..model.config import require_config
from ..model.meta import Region, Voxels, voxel_text
from ..model.plan import Plan, compile_plan
from ..storage.access.files import writing
from ..storage.id_table import write_dense_table
from ..storage.metadata.documents import require_on_disk
from .slabs import run_starts

Ids = np.ndarray[Any, Any]

#: Ids in memory; more are written to temporary files until the end.
IDS_IN_MEMORY = 2**23


def dense_table(config: ArrayConfig, path: str | Path, num_workers: int = 1, unit: str | None = None) -> Path:
    """Write a table that gives all ids of an array the results 1, 2, 3, ..., in the order of the ids.

    The array is read once, block by block, but not where absent chunks prove that it is 0, with bounded
    memory. Id 0 is not in the table and stays 0. A RelabelArrayConfig over the same array with this table
    then has small ids, for training or for a MergeInstancesArrayConfig; row k of ``numpy.load(path)`` is
    the id that became k + 1, and k + 1.

    Args:
        config: Integer ids, never averaged, with or without channels.
        path: A file that ends in ``.npy``. One that was there is replaced when the new one is complete.
        num_workers: Blocks that are read at a time, each by a thread.
        unit: The unit of the tree; by default that of its file, else nm.

    Returns:
        The absolute path of the table, uint64 of shape (number of ids, 2).

    Raises ConfigError for another suffix, TreeError for an array of other values, ComputeError for a
    negative id, StoreError where the file cannot be written.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> large = gpa.NumpyArrayConfig("large", data=np.array([[0, 2**59, 7]], np.uint64))
    >>> path = gpa.dense_table(large, tempfile.mkdtemp() + "/table.npy")
    >>> np.load(path).tolist() == [[7, 1], [2**59, 2]]
    True
    >>> gpa.RelabelArrayConfig("small", large, table=path).array()[:]
    array([[0, 2, 1]], dtype=uint64)
    """
    file: Path = fields.named("path", fields.to_path, path)
    require_on_disk(file)
    file = file.absolute()
    if file.suffix.lower() != ".npy":
        raise ConfigError("not the path of a table", found=str(file), allowed="a name that ends in .npy")
    num_workers = fields.named("num_workers", fields.to_count, num_workers)
    require_config(config)
    plan = compile_plan({config.name: config}, unit)
    index = plan.outputs[config.name]
    with errors_at(*plan.path(index)):
        require_integer_ids(plan.steps[index].meta, "a table of ids")
    with (
        writing(file, "cannot write the table of ids"),
        tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as folder,
    ):
        write_dense_table(file, _distinct(_ids_of_blocks(plan, index, num_workers), Path(folder)))
    return file


def _ids_of_blocks(plan: Plan, index: int, num_workers: int) -> Iterator[Ids]:
    """The ids above 0 of every block that may hold any, sorted."""

    def ids_of(region: Region, voxels: Voxels) -> Ids:
        flat = voxels.reshape(-1)
        ids = np.unique(flat[run_starts(flat)])
        if ids[0] < 0:
            at = np.unravel_index(int(flat.argmin()), voxels.shape)
            raise ComputeError(
                "an id is negative",
                found=f"{ids[0]} at {voxel_text(region, plan.steps[index].meta, at)}",
                allowed="ids from 0",
                path=plan.path(index),
            )
        return ids[ids > 0].astype(np.uint64)

    return map_blocks(plan, index, ids_of, num_workers)


def _distinct(parts: Iterable[Ids], folder: Path) -> Iterator[Ids]:
    """All ids of some sorted parts, sorted, each once; what does not fit in memory goes to files in ``folder``."""
    files: list[Ids] = []
    ids, new, count = np.empty(0, np.uint64), [], 0
    for part in parts:
        new.append(part)
        count += len(part)
        # joining costs as much as is known already, so it waits until as much is new
        if count > max(2**16, len(ids)):
            ids, new, count = np.unique(np.concatenate([ids, *new])), [], 0
        if len(ids) > IDS_IN_MEMORY:
            np.save(folder / f"{len(files)}.npy", ids)
            files.append(np.load(folder / f"{len(files)}.npy", mmap_mode="r"))
            ids = ids[:0]
    yield from _merged([*files, np.unique(np.concatenate([ids, *new]))])


def _merged(columns: Sequence[Ids]) -> Iterator[Ids]:
    """The values of sorted columns, sorted, each once."""
    step = max(1, IDS_IN_MEMORY // len(columns))
    columns = [column for column in columns if len(column)]
    while columns:
        heads = [np.asarray(column[:step]) for column in columns]
        # no column can bring a smaller value later than the smallest of the last ones that are here
        last = min(head[-1] for head in heads)
        counts = [int(np.searchsorted(head, last, side="right")) for head in heads]
        yield np.unique(np.concatenate([head[:n] for head, n in zip(heads, counts, strict=True)]))
        columns = [column[n:] for column, n in zip(columns, counts, strict=True) if n < len(column)]
