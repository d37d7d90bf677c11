"""The array types that DaCapo has too, beside its array classes: first reads, and reads of chunks in the cache.

It is left out where DaCapo cannot be imported: it takes Python 3.11 with dacapo-ml 0.3.0, zarr 2, funlib.persistence 0.3.0
and the module ``fibsem_tools.metadata`` of fibsem-tools 6.3.0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from cases import stored_cases
from dacapo.experiments.datasplits.datasets import arrays as dacapo
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.model.cache import CACHE


def translated(value: Any) -> Any:
    """A value of a config of ours as DaCapo takes it; AttributeError if DaCapo has no such type."""
    if isinstance(value, dict):
        return {name: translated(each) for name, each in value.items()}
    if isinstance(value, list | tuple) and value and isinstance(value[0], gpa.ArrayConfig):
        return [translated(each) for each in value]
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        return gpa.Coordinate(value)
    if not isinstance(value, gpa.ArrayConfig):
        return value
    kind = getattr(dacapo, type(value).__name__)
    names = [field.alias for field in attrs.fields(kind) if hasattr(value, field.alias)]
    fields = {name: translated(getattr(value, name)) for name in names}
    if "roi" in fields:
        fields["roi"] = value.array().roi
    if "file_name" in fields:
        fields |= {"file_name": Path(fields["file_name"]), "snap_to_grid": None, "axes": list("zyx")}
    return kind(**fields)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    logging.getLogger("gp_arrays").setLevel(logging.ERROR)  # that these ids have no metadata is known
    gpa.set_cache_bytes(2**31)
    for size in (64,) if settings.short else (64, 192):
        for case, region in stored_cases(settings.store, size):
            try:
                config = translated(case.config)
            except AttributeError:
                continue
            if getattr(case.config, "downsample_by", None) == "mode":
                continue  # DaCapo's would take the nearest voxels
            array, theirs = case.config.array(), config.array_type(config)
            for state, prepare in (("cold", CACHE.clear), ("warm", None)):
                yield Comparison(
                    f"DaCapo's array types, {state}",
                    f"{case.name}, {size}^3",
                    "DaCapo",
                    # its voxels differ in places, so these are not compared
                    lambda array=array, region=region: array[region].nbytes,
                    lambda theirs=theirs, region=region: theirs[region].nbytes,
                    bar=1,
                    prepare=prepare,
                )
