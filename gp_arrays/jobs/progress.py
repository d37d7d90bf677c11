"""The progress of the jobs of a store, checks of stored blocks, and the end of jobs that will not run again."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, StoreError
from ..model import fields
from ..model.meta import Region
from ..storage.journal import MARK, Unfinished
from ..storage.metadata.attributes import remove_attribute
from ..storage.metadata.documents import datasets, find_node, read_node
from ..train.network import threads_of_torch
from . import document
from .document import job_of
from .outputs import Writer
from .state import State, other_run_error, state_base, store_root


@attrs.frozen
class Status:
    """The progress of a job.

    Attributes:
        folder: The folder of its state.
        datasets: The paths of its outputs.
        blocks: How many blocks the job has, for all rois together.
        done: How many blocks are done.
        failed: How many failed in the last run and are not done.
        empty: How many others are known to be empty.
        running: The process that is running the job, or None.
        replaced: True if an output has been removed or replaced by another job.
    """

    folder: Path
    datasets: tuple[str, ...]
    blocks: int
    done: int
    failed: int
    empty: int
    running: str | None
    replaced: bool = False

    @property
    def missing(self) -> int:
        return self.blocks - self.done - self.failed - self.empty

    def __str__(self) -> str:
        text = (
            f"{', '.join(self.datasets)}: {self.done} of {self.blocks} blocks done, {self.empty} known to be empty, "
            f"{self.failed} failed, {self.missing} missing"
        )
        text += "; its outputs are gone or belong to another job now" if self.replaced else ""
        return text if self.running is None else f"{text}; running: {self.running}"


def status(path: str | Path, state: str | Path | None = None) -> tuple[Status, ...]:
    """The progress of each job of a store.

    Args:
        path: The store.
        state: The folder that was given as ``state`` to ``materialize``, if any.

    Raises:
        StoreError: No job has written there.
    """
    base = state_base(store_root(path), state)
    folders = sorted(folder.parent for folder in base.glob(f"*/{document.JOB}"))
    if not folders:
        raise StoreError(
            "no job has written there",
            found=f"{path}, state {base}",
            allowed="a store that materialize wrote; state=, if it was given to materialize",
        )
    return tuple(_status_of(State(folder)) for folder in folders)


def _status_of(state: State) -> Status:
    job = document.read(state.folder)
    blocks = done = failed = empty = 0
    failures = state.failures()
    for pass_ in job.passes:
        done_blocks = state.done(pass_)
        empty_blocks = state.empty(pass_) & ~done_blocks
        blocks, done, empty = blocks + done_blocks.size, done + int(done_blocks.sum()), empty + int(empty_blocks.sum())
        finished = (done_blocks | empty_blocks).ravel()
        failed += sum(not finished[note["block"]] for note in failures if note["pass"] == pass_.name)
    root = document.store_of(state.folder, job)
    replaced = any(job_of(read_node(root, name)) != job.id for name in job.datasets)
    return Status(state.folder, job.outputs, blocks, done, failed, empty, state.holder(), replaced)


def finish(path: str | Path, dataset: str | None = None, accept_absent: bool = False) -> tuple[str, ...]:
    """Mark unfinished outputs of a store as finished: from then on absent chunks are read as empty.

    Args:
        path: The store.
        dataset: An array, or a group of arrays; all by default.
        accept_absent: True allows outputs whose blocks are not all done.

    Returns:
        The datasets that are finished now.

    Raises:
        StoreError: There is no such store or dataset, a run is writing them, or blocks are missing and
            ``accept_absent`` is False.
    """
    root = store_root(path)
    names = [name for name in datasets(root) if not dataset or name == dataset or name.startswith(f"{dataset}/")]
    if not names:
        find_node(root, dataset or "")
    marked = [
        (node, unfinished)
        for node in map(partial(find_node, root), names)
        if (unfinished := Unfinished.of(root, node)) is not None
    ]
    for node, unfinished in marked:
        folder = unfinished.mark.folder(root / node.path)
        if folder is not None and (process := State(folder).holder()) is not None:
            raise other_run_error(process)
        finished = folder is not None and bool(unfinished.mark.readable(folder).all())
        if not finished and not accept_absent:
            raise StoreError(
                "the job that writes this array is not done",
                found=f"{root}/{node.path}: {unfinished.progress()}",
                allowed="run the same materialize again, or accept absent chunks as empty with --accept-absent",
            )
    for node, _ in marked:
        remove_attribute(root, node, MARK)
    return tuple(node.path for node, _ in marked)


@attrs.frozen
class Checked:
    """The result of a check: how many blocks were computed again, and which of them differ from the stored voxels.

    Attributes:
        blocks: How many blocks were computed.
        wrong: The dataset and the roi of each block that differs.
    """

    blocks: int
    wrong: tuple[tuple[str, Roi], ...]

    def __str__(self) -> str:
        lines = [f"{self.blocks} blocks computed again, {len(self.wrong)} differ from the stored voxels"]
        lines += [f"  {name} {Region.of(roi)}" for name, roi in self.wrong[:10]]
        return "\n".join(lines)


def check_blocks(folder: str | Path, count: int, seed: int | None = None, trust: bool = False) -> Checked:
    """Compute blocks of a job again, which are chosen at random among those done, and compare them with the stored voxels.

    Args:
        folder: The state folder of the job.
        count: How many blocks at most.
        seed: The same seed chooses the same blocks.
        trust: True imports all modules that the job names. Otherwise a job is refused if it needs other modules than
            this package and installed array types.

    Raises:
        TreeError: The job needs modules, and ``trust`` is False.
        StoreError: The folder holds no job of this version.
    """
    if fields.to_integer(count) < 1:
        raise ConfigError("the number of blocks to check is too small", found=count, allowed="at least 1")
    state = State(fields.to_path(folder))
    job = document.read(state.folder)
    document.require_trust(job, trust)
    choice = random.Random(seed)
    done = [np.flatnonzero(state.done(pass_)) for pass_ in job.passes]
    which, numbers = np.repeat(range(len(done)), list(map(len, done))), np.concatenate(done)
    chosen = sorted(choice.sample(range(numbers.size), min(count, numbers.size)))
    works = {i: document.load(state.folder, job, job.passes[i].name) for i in np.unique(which[chosen]).tolist()}
    wrong = []
    for i, number in zip(which[chosen].tolist(), numbers[chosen].tolist(), strict=True):
        work = works[i]
        with threads_of_torch(state.threads):
            blocks = work.evaluate(work.pass_.block_of(number))
        for output, part, voxels in blocks:
            stored = Writer(work.root, output.dataset, output.meta).read(part)
            if not np.array_equal(stored, voxels, equal_nan=voxels.dtype.kind == "f"):
                wrong.append((output.dataset, part.roi))
    return Checked(len(chosen), tuple(wrong))
