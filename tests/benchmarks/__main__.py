"""Compares this library with others, and prints the ratios.

    python tests/benchmarks [PART ...] [--store STORE] [--short] [--runs N]

A part is a file ``bench_PART.py`` here; without one all of them run. Both sides of a row run in turns in one
process; a ratio is the median time of this library divided by that of the peer, so less is better. STORE is a
Zarr store with uint8 ``raw`` and uint64 ``labels/neurons``; without one a sample is made. At the end a short
table in Markdown has the geometric mean of each group of rows.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from timing import Result, Settings, measure

PARTS = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
MEMORY = Path("/dev/shm")


def sample(folder: Path) -> str:
    """A store of 256 x 256 x 256 voxels in chunks of 64 x 64 x 64."""
    import gp_arrays as gpa
    from gp_arrays.cli.sample import make_voxels

    roi = gpa.Roi((0, 0, 0), (2048, 2048, 2048))
    for dataset, voxels in make_voxels((128, 128, 128)).items():
        name = dataset if dataset == "raw" else f"labels/{dataset}"
        stored = gpa.create_zarr(folder / "sample.zarr", name, roi, (8, 8, 8), voxels.dtype, chunks=(64, 64, 64))
        stored[:] = np.tile(voxels, (2, 2, 2))
    return str(folder / "sample.zarr")


def run(part: str, settings: Settings, runs: int | None) -> Iterator[Result]:
    """Measure the rows of a part and print each."""
    import gp_arrays as gpa

    print(f"\n{part}", flush=True)
    gpa.set_cache_bytes(None)  # a part may have set it
    for comparison in importlib.import_module(f"bench_{part}").comparisons(settings):
        result = measure(replace(comparison, runs=min(runs, comparison.runs or runs)) if runs else comparison)
        bar = ""
        if comparison.bar is not None:
            beyond = f" + {comparison.extra:g} {comparison.unit}" if comparison.extra else ""
            bar = f"  <= {comparison.bar:.3g}{beyond}: {'holds' if result.holds else 'FAILS'}"
        print(
            f"{comparison.group + ', ' + comparison.name:60} {result.ours:9.2f} {comparison.unit:4}"
            f" {comparison.peer:>24} {result.theirs:9.2f}  ratio {result.ratio:5.2f}{bar}",
            flush=True,
        )
        yield result


def short_table(results: Iterable[Result]) -> Iterator[str]:
    """The lines of a Markdown table with one row for each group and peer."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.comparison.group, result.comparison.peer), []).append(result)
    yield "| what | beside | rows | ratio | largest ratio | bars that hold |"
    yield "|---|---|---|---|---|---|"
    for (group, peer), rows in groups.items():
        mean = np.exp(np.mean([np.log(row.ratio) for row in rows]))
        worst = max(rows, key=lambda row: row.ratio)
        bars = [row.holds for row in rows if row.holds is not None]
        if (mean_bar := rows[0].comparison.mean_bar) is not None:
            bars.append(bool(mean <= mean_bar))
        yield (
            f"| {group} | {peer} | {len(rows)} | {mean:.2f} | {worst.ratio:.2f}, {worst.comparison.name} |"
            f" {f'{sum(bars)} of {len(bars)}' if bars else ''} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--store", help="a Zarr store in place of the sample")
    parser.add_argument("--short", action="store_true", help="leave out what takes long")
    parser.add_argument("--runs", type=int, help="the most runs of a row")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    packages = ", ".join(f"{name} {version(name)}" for name in ("gunpowder", "zarr", "numpy"))
    print(
        f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}"
    )
    results: list[Result] = []
    failed = []
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as temporary:
        store = arguments.store or sample(Path(temporary))
        for part in arguments.parts or PARTS:
            folder = Path(temporary, part)
            folder.mkdir()
            try:
                results.extend(run(part, Settings(store, folder, arguments.short), arguments.runs))
            except ModuleNotFoundError as error:
                print(f"left out: {error}")
            except Exception:  # the other parts run all the same, and the exit code tells
                traceback.print_exc()
                failed.append(part)
    print("", *short_table(results), sep="\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
