"""A worker: takes blocks from the master, computes and writes them, survives those that fail."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ..errors import GpArraysError
from ..evaluate import evaluate
from ..meta import Region
from . import job as jobs
from .geometry import Output, Pass
from .outputs import Writer

logger = logging.getLogger(__name__)

FAILURES = "failures"


class Worker:
    """Computes and writes the blocks of one pass of a job."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.job = jobs.load(folder)
        self.made: Pass = next(made for made in self.job.passes if made.name == name)
        self._writers: dict[str, Writer] = {}

    def _writer(self, output: Output) -> Writer:
        if output.dataset not in self._writers:
            self._writers[output.dataset] = Writer(self.job.root, output.dataset, output.meta)
        return self._writers[output.dataset]

    def process(self, block: Region) -> None:
        """Compute the outputs of a block and write them."""
        wanted = self.made.wanted(block)
        voxels = evaluate(self.job.plan, [(output.step, part) for output, part in wanted])
        for (output, part), values in zip(wanted, voxels, strict=True):
            self._writer(output).write(part, values)

    def failed(self, block: Region, error: Exception) -> None:
        """Leave a note of a block that failed, for the master to report."""
        path = error.path if isinstance(error, GpArraysError) else ()
        text = str(error) if isinstance(error, GpArraysError) else f"{type(error).__name__}: {error}"
        note = {
            "pass": self.made.name, "begin": block.begin, "end": block.end,
            "path": path, "error": text, "time": time.time(),
        }  # fmt: skip
        folder = self.folder / FAILURES
        folder.mkdir(exist_ok=True)
        jobs.write_text(folder / f"{self.made.name}-{'_'.join(map(str, block.begin))}.json", json.dumps(note))


def run(folder: str, master: int | None = None) -> None:
    """The loop of a worker. daisy's context is in the environment."""
    import daisy.v2 as daisy

    if master is not None:
        _die_with(master)
    client = daisy.Client()
    worker = Worker(Path(folder), client.task_id)
    while True:
        with client.acquire_block() as block:
            if block is None:
                return
            region = Region.of(block.write_roi)
            try:
                worker.process(region)
            except Exception as error:
                traceback.print_exc()
                worker.failed(region, error)
                block.status = daisy.BlockStatus.FAILED


def _die_with(master: int) -> None:
    """End this process once its master has ended, however that came about."""

    def watch() -> None:
        while os.getppid() == master:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: Any = None) -> None:
    """``python -m gp_arrays.materialize.worker FOLDER``: a worker started by some command."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    run(folder)


if __name__ == "__main__":
    main()
