"""The marks of outputs that are not finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..storage.create import remove_attribute, update_attributes
from ..storage.documents import read_node
from ..storage.journal import MARK, Mark
from .document import Job
from .geometry import Output, Pass
from .outputs import job_of
from .state import State


def mark_of(job: Job, state: State, made: Pass, output: Output) -> Mapping[str, Any]:
    """The attribute of an output that says that its job is not done, and where its state is."""
    root = Path(job.root)
    beside = state.folder.is_relative_to(root.parent)
    folder = f"../{state.folder.relative_to(root.parent).as_posix()}" if beside else str(state.folder)
    begin, block = made.box_of(output)
    return Mark(job.id, folder, made.name, begin, block, made.grid).document()


def mark_outputs(job: Job, state: State) -> None:
    """Mark the outputs that are not finished, and take the mark off those that are. Raises StoreError."""
    root = Path(job.root)
    for made in job.passes:
        finished = bool((state.done(made) | state.empty(made)).all())
        for output in made.outputs:
            node = read_node(root, output.dataset)
            if node is None or job_of(node) != job.id:
                continue
            mark = None if finished else mark_of(job, state, made, output)
            if mark is None and MARK in node.attrs:
                remove_attribute(root, node, MARK)
            elif mark is not None and node.attrs.get(MARK) != mark:
                update_attributes(root, node, {MARK: mark})
