"""The array types that DaCapo has too, beside its array classes (dacapo-ml 0.3.0, with zarr 2), where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from bench_reading import DATASETS, FIRST
from cases import cases
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
    grey, ids = (gpa.ZarrArrayConfig(name, settings.store, dataset) for name, dataset in DATASETS.items())
    raw = grey.array()
    for size in (64,) if settings.short else (64, 192):
        roi = gpa.Roi(raw.roi.begin + raw.voxel_size * FIRST, raw.voxel_size * size)
        known = np.unique(ids.array()[roi])
        for case in cases(grey, ids, roi, known[known != 0].tolist()):
            try:
                config = translated(case.config)
            except AttributeError:
                continue
            if isinstance(case.config, gpa.MissingAnnotationsMaskConfig):
                continue  # DaCapo's reads metadata that these labels do not have
            array, theirs = case.config.array(), config.array_type(config)
            region = gpa.Roi(roi.begin, roi.shape * int(case.part * 4) / 4)
            yield Comparison(
                "DaCapo's array types, cold",
                f"{case.name}, {size}^3",
                "DaCapo",
                # its voxels differ in places, so these are not compared
                lambda array=array, region=region: array[region].nbytes,
                lambda theirs=theirs, region=region: theirs[region].nbytes,
                bar=1,
                prepare=CACHE.clear,
                runs=5,
            )
