"""A small EM-like sample: grey values, instance labels, organelle ids, and a tree over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from funlib.geometry import Roi
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from ..errors import StoreError
from ..model.config import Config
from ..model.meta import Voxels
from ..sources.stores import create_zarr
from ..sources.zarr_ import ZarrArrayConfig
from ..transforms.binarize import BinarizeArrayConfig
from ..transforms.intensities import IntensitiesArrayConfig
from ..transforms.logical_or import LogicalOrArrayConfig
from ..trees.tree import save_tree

VOXEL_SIZE = (8, 8, 8)
OFFSET = (800, 0, 0)
SHAPE = (96, 128, 128)
MITOCHONDRION, NUCLEUS = 1, 2

STORE, TREE = "sample.zarr", "tree.toml"


def make_voxels(shape: tuple[int, ...] = SHAPE, cells: int = 24, seed: int = 1) -> dict[str, Voxels]:
    """Grey values (uint8), cells (uint64, 0 between them) and organelles (uint8) of an invented tissue.

    >>> voxels = make_voxels((8, 16, 16), cells=3)
    >>> {name: str(data.dtype) for name, data in voxels.items()}
    {'raw': 'uint8', 'neurons': 'uint64', 'organelles': 'uint8'}
    """
    random = np.random.default_rng(seed)
    extent = np.array(shape, float)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, len(shape))
    warped = grid + np.stack(
        [gaussian_filter(random.normal(size=shape), 6).ravel() * 60 for _ in shape], axis=-1
    )  # cells bulge into each other instead of meeting at planes
    seeds = random.uniform(0, extent, (cells, len(shape)))
    distance, nearest = cKDTree(seeds).query(warped, k=2)
    wall = (distance[:, 1] - distance[:, 0]).reshape(shape)
    neurons = (nearest[:, 0].reshape(shape) + 1).astype(np.uint64)
    neurons[wall < 2] = 0
    organelles = np.zeros(shape, np.uint8)
    inside = distance[:, 0].reshape(shape)
    organelles[(inside < 9) & (neurons % 3 == 0)] = NUCLEUS
    for centre in random.uniform(0, extent, (cells * 4, len(shape))):
        axis = random.uniform(2.0, 5.5, len(shape))
        low = np.maximum(0, centre - axis).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, np.minimum(extent, centre + axis + 1).astype(int), strict=True))
        positions = np.stack(np.meshgrid(*(np.arange(b.start, b.stop) for b in box), indexing="ij"), axis=-1)
        part = (((positions - centre) / axis) ** 2).sum(-1) < 1
        organelles[box][part & (neurons[box] > 0) & (organelles[box] == 0)] = MITOCHONDRION
    grey = (
        170 - 110 * np.exp(-((wall / 2.0) ** 2)) - 45.0 * (organelles == MITOCHONDRION) - 20.0 * (organelles == NUCLEUS)
    )
    grey += gaussian_filter(random.normal(size=shape), 0.7) * 30
    return {"raw": np.clip(grey, 0, 255).astype(np.uint8), "neurons": neurons, "organelles": organelles}


def make_sample(folder: str | Path, shape: tuple[int, ...] = SHAPE) -> dict[str, Config]:
    """Write the sample's store and tree file into a new or empty folder.

    Returns the tree's configs by name.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError("the folder is not empty", found=str(folder), allowed="a folder that is new or empty")
    folder.mkdir(parents=True, exist_ok=True)
    roi = Roi(OFFSET, tuple(n * v for n, v in zip(shape, VOXEL_SIZE, strict=True)))
    store = folder.absolute() / STORE
    for name, voxels in make_voxels(shape).items():
        dataset = name if name == "raw" else f"labels/{name}"
        create_zarr(store, dataset, roi, VOXEL_SIZE, voxels.dtype, chunks=(32, 64, 64))[roi] = voxels
    raw = ZarrArrayConfig("raw", file_name=store, dataset="raw")
    neurons = ZarrArrayConfig("neurons", file_name=store, dataset="labels/neurons")
    organelles = ZarrArrayConfig("organelles", file_name=store, dataset="labels/organelles")
    groups = [("mitochondria", [MITOCHONDRION]), ("nucleus", [NUCLEUS]), ("any", [])]
    masks = BinarizeArrayConfig("masks", organelles, groups)
    tree: dict[str, Config] = {
        "normalized": IntensitiesArrayConfig("normalized", raw, min=0, max=255),
        "neurons": neurons,
        "masks": masks,
        "organelle": LogicalOrArrayConfig("organelle", masks),
    }
    save_tree(tree, folder / TREE)
    return tree
