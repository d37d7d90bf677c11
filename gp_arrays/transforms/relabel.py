"""Ids replaced by those that a table gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, ConfigError, GpArraysError, TreeError, quoted
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.checks import require_integer_ids
from ..model.meta import Block, Meta, Region, Voxels, voxel_text
from ..storage.id_table import IdTable, table_of_columns, table_of_file
from .constant import smallest_dtype
from .slabs import run_starts

OTHERS = ("keep", "zero", "error")
LARGEST = 2**64 - 1

Pairs = tuple[tuple[int, int], ...]


def relabel(labels: Voxels, table: IdTable, keep_others: bool = True) -> tuple[Voxels, Voxels, Voxels]:
    """The results in runs: where runs of equal labels begin in the flat array, their results, and which are listed.

    An id that is not listed stays, or becomes 0. Id 0 counts as listed.

    >>> table = table_of_columns(np.array([4, 9]), np.array([1, 2]))
    >>> relabel(np.array([4, 4, 0, 9, 7]), table)[:2]
    (array([0, 2, 3, 4]), array([1, 0, 2, 7], dtype=uint64))
    """
    flat = labels.reshape(-1)
    starts = run_starts(flat)
    # labels come in long runs of few ids: the table is searched for each id once
    of_runs = flat[starts]
    ids = np.unique(of_runs)
    values = ids.astype(np.uint64)
    results, listed = table.look_up(values)
    listed |= values == 0
    if keep_others:
        results = np.where(listed, results, values)
    at = np.searchsorted(ids, of_runs)
    return starts, results[at], listed[at]


def to_pairs(value: Any) -> Pairs | None:
    """attrs converter: pairs of an id and its result, a mapping, or None."""
    if value is None:
        return None
    pairs = []
    for pair in fields.items_of(value.items() if isinstance(value, Mapping) else value, "pairs of ids"):
        pair = fields.items_of(pair, "two ids")
        if len(pair) != 2:
            raise ConfigError("not two ids", found=quoted(pair), allowed="an id and the id that replaces it")
        for id in pair:
            if not fields.is_integer(id) or not 0 <= id <= LARGEST:
                raise ConfigError("not an id", found=quoted(id), allowed="an integer from 0 to 2^64 - 1")
        pairs.append((int(pair[0]), int(pair[1])))
    return tuple(pairs)


@attrs.frozen(eq=False, repr=False)
class RelabelArrayConfig(OneSourceConfig):
    """Ids replaced by those that a table gives: neurons for supervoxels, merges, or 1, 2, 3, ... for large ids.

    Each id is looked up once: a result that is itself listed is not looked up again. Id 0 stays 0
    unless it is listed. Ids are never converted to floats. Values between two ids mean nothing, so
    the result is not interpolatable.

    The table is a file, ``table``, or part of the config, ``mapping``. A file has two columns of
    integers, the id and its result: a ``.npy`` or ``.npz`` array of shape (n, 2), or a ``.csv`` with
    two integers a line, the first line perhaps names. A ``.npy`` with sorted ids is memory-mapped, so
    it may be larger than memory; any other may have 1 GB. ``gp_arrays.dense_table`` makes a table that
    gives all ids of an array the results 1, 2, 3, ...

    Args:
        name: The array's name.
        source_array_config: Integer ids, never averaged; channels are kept.
        table: The file. In a tree file a relative path is taken from where the tree file is.
        mapping: Pairs of an id and its result, instead of a file.
        others: What happens to ids that are not listed: ``"keep"``, ``"zero"``, or ``"error"`` for a ComputeError.
        dtype: An integer dtype. By default uint64; where others are not kept, the smallest unsigned
            dtype that holds all results.

    Raises ConfigError for neither or both of ``table`` and ``mapping``, StoreError for a file that cannot
    be read, TreeError for one that is not a table of ids or has two results for one id, and ComputeError
    for negative labels, results beyond ``dtype``, and where the file changes after the array was opened.

    >>> import gp_arrays as gpa, numpy as np
    >>> supervoxels = gpa.NumpyArrayConfig("supervoxels", data=np.array([[0, 7, 8, 9]], np.uint64))
    >>> neurons = gpa.RelabelArrayConfig("neurons", supervoxels, mapping=[(7, 1), (8, 1)], others="zero")
    >>> neurons.array()[:]
    array([[0, 1, 1, 0]], dtype=uint8)
    """

    supports_channel_subset = True
    keeps_constant = True

    table: Path | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_path))
    mapping: Pairs | None = attrs.field(default=None, converter=to_pairs)
    others: str = attrs.field(default="keep", validator=fields.one_of(*OTHERS))
    dtype: np.dtype[Any] | None = attrs.field(default=None, converter=fields.to_dtype)
    _of_mapping: IdTable | None = attrs.field(default=None, init=False)

    def check(self) -> None:
        if (self.table is None) == (self.mapping is None):
            both = "neither table nor mapping" if self.table is None else "both table and mapping"
            raise ConfigError("a relabelled array has one table", found=both, allowed="table= or mapping=")
        if self.dtype is not None and self.dtype.kind not in "ui":
            raise ConfigError(
                "the dtype of ids is not an integer dtype", found=str(self.dtype), allowed="such as uint32"
            )
        if self.mapping is not None:
            pairs = np.array(self.mapping, np.uint64).reshape(-1, 2)
            try:
                object.__setattr__(self, "_of_mapping", table_of_columns(pairs[:, 0], pairs[:, 1]))
            except TreeError as error:
                raise ConfigError(f"mapping: {error.problem}", error.found, error.allowed) from None

    def fingerprints(self) -> dict[str, str]:
        return {} if self.table is None else {"table": self._table().hash}

    def _table(self) -> IdTable:
        if self._of_mapping is not None:
            return self._of_mapping
        assert self.table is not None
        return table_of_file(self.table)

    def infer_from(self, source: Meta) -> Meta:
        require_integer_ids(source, "Relabel")
        table = self._table()
        dtype = self.dtype
        if dtype is None:
            dtype = np.dtype(np.uint64) if self.others == "keep" else smallest_dtype(0, table.largest)
        assert dtype is not None
        if table.largest > np.iinfo(dtype).max:
            raise TreeError(
                "a result in the table is beyond the dtype", found=table.largest, allowed=f"a value of {dtype}"
            )
        return attrs.evolve(source, dtype=dtype, interpolatable=False, table=table.hash)

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        assert meta.dtype is not None
        labels = np.ascontiguousarray(block.data)
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise self._error("an id is negative", labels, int(labels.argmin()), region, meta, "ids from 0")
        table = self._table()
        if meta.table != table.hash:
            raise ComputeError(
                "the table of ids has changed since the array was opened",
                found=f"{self.table}",
                allowed="the same table while an array is in use; open the array again",
            )
        starts, results, listed = relabel(labels, table, self.others == "keep")
        if self.others == "error" and not listed.all():
            at = int(starts[listed.argmin()])
            raise self._error("an id is not in the table", labels, at, region, meta, 'others="keep" or "zero"')
        if results.size and results.max() > np.iinfo(meta.dtype).max:
            at = int(starts[results.argmax()])
            raise self._error("an id is beyond the dtype", labels, at, region, meta, f"a value of {meta.dtype}")
        lengths = np.diff(starts, append=labels.size)
        return np.repeat(results.astype(meta.dtype), lengths).reshape(labels.shape)

    def _error(self, problem: str, labels: Voxels, at: int, region: Region, meta: Meta, allowed: str) -> GpArraysError:
        index = np.unravel_index(at, labels.shape)
        return ComputeError(problem, found=f"{labels[index]} at {voxel_text(region, meta, index)}", allowed=allowed)
