"""Trees over voxels in memory, rewritten as trees over Zarr stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..model.config import Config, all_configs, source_fields
from ..sources.numpy_ import NumpyArrayConfig
from ..sources.zarr_ import ZarrArrayConfig
from .oracle import Naive, delivered
from .plain_zarr import write_plain_zarr


def with_stored_sources(config: Any, folder: Path) -> Any:
    """The same tree with every array in memory replaced by a Zarr store below ``folder``."""
    replaced: dict[Config, Config] = {}
    for each in all_configs([config]):
        if isinstance(each, NumpyArrayConfig):
            replaced[each] = _stored(each, folder, f"d{len(replaced)}")
        else:
            changes = {key: _swap(getattr(each, key), replaced) for key in source_fields(type(each))}
            replaced[each] = each.with_fields(**changes) if changes else each
    return replaced[config]


def _swap(value: Any, replaced: dict[Config, Config]) -> Any:
    if isinstance(value, Config):
        return replaced[value]
    if isinstance(value, dict):
        return {key: _swap(item, replaced) for key, item in value.items()}
    return tuple(_swap(item, replaced) for item in value) if isinstance(value, tuple) else value


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
