"""Trees over voxels in memory, moved to stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..model.config import Config, all_configs, source_fields
from ..sources.numpy_ import NumpyArrayConfig
from ..sources.zarr_ import ZarrArrayConfig
from .oracle import Naive, delivered
from .plain_zarr import write_plain_zarr


def with_stored_sources(config: Any, folder: Path) -> Any:
    """The same tree, what is in memory moved to Zarr stores below ``folder``."""
    made: dict[Config, Config] = {}
    for each in all_configs([config]):
        if isinstance(each, NumpyArrayConfig):
            made[each] = _stored(each, folder, f"d{len(made)}")
        else:
            changes = {key: _swap(getattr(each, key), made) for key in source_fields(type(each))}
            made[each] = each.with_fields(**changes) if changes else each
    return made[config]


def _swap(value: Any, made: dict[Config, Config]) -> Any:
    if isinstance(value, Config):
        return made[value]
    if isinstance(value, dict):
        return {key: _swap(item, made) for key, item in value.items()}
    return tuple(_swap(item, made) for item in value) if isinstance(value, tuple) else value


def _stored(config: NumpyArrayConfig, folder: Path, dataset: str) -> ZarrArrayConfig:
    volume = delivered(config, Naive(config.tree_unit or "nm"))
    spatial = "zyx"[-volume.dims :] if volume.dims <= 3 else [f"d{i}" for i in range(volume.dims)]
    names = [*volume.nonspatial, *spatial]
    attributes = {
        "voxel_size": volume.voxel_size,
        "offset": volume.begin,
        "axis_names": names,
        "units": [config.tree_unit or "nm"] * volume.dims,
    }
    chunks = [max(1, -(-n // 2)) for n in volume.data.shape]
    if not (folder / "stored.zarr" / dataset).exists():
        write_plain_zarr(folder / "stored.zarr" / dataset, volume.data, chunks, attributes)
    return ZarrArrayConfig(config.name, folder / "stored.zarr", dataset, interpolatable=volume.interpolatable)
