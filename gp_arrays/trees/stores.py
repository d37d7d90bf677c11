"""The arrays of a store without a tree file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import StoreError
from ..model.base import SourceConfig
from ..model.config import field_names
from ..model.fields import is_url
from ..model.plan import lengths_of
from ..model.urls import Url, to_store
from ..sources.hdf5 import HDF5ArrayConfig
from ..sources.precomputed import PrecomputedArrayConfig
from ..sources.tiff import TiffArrayConfig
from ..sources.zarr_ import ZarrArrayConfig
from ..storage.access.chunk_files import is_there
from ..storage.access.files import store_errors
from ..storage.access.remote import StorePath, is_listable
from ..storage.access.zip_files import is_zip, locate_store
from ..storage.hdf5 import list_datasets
from ..storage.metadata.documents import ArrayNode, datasets, find_node, has_document, read_json, read_node
from ..storage.metadata.other_formats import file_format, folder_format
from ..storage.metadata.pyramids import pyramid_at, pyramid_of
from ..units import DEFAULT_UNIT, coarsest_unit
from .document import RESERVED

#: The types of arrays that read files, by their names.
_TYPES: dict[str, type[SourceConfig]] = {kind.__name__: kind for kind in (HDF5ArrayConfig, TiffArrayConfig)}
_READ = "a store (Zarr, N5, precomputed; a zip file of one), an HDF5, TIFF or PNG file, a pattern such as 'slices/*.tif', or a tree file"

_STORE = re.compile(r"\.(zarr|n5|zr)$")
#: The most arrays that are listed.
MOST_ARRAYS = 20_000

#: Words in the path of an array that holds labels, whatever its metadata say.
_LABELS = re.compile(
    r"(^|[/_.\-])(labels?|seg|segmentations?|gt|groundtruth|ground_truth|instances?|ids?|neurons?|supervoxels?|clefts?)"
    r"([/_.\-]|$)"
)
#: Words in the path of a list of points, such as those of CREMI.
_POINTS = re.compile(r"(^|/)(annotations?|points?|locations?)(/|$)")
#: The name of a level of a pyramid, which alone names no array.
_LEVEL = re.compile(r"s?[0-9]+")


def configs_of_store(location: Path) -> dict[str, SourceConfig]:
    """A config for each array at ``STORE`` or ``STORE/DATASET``, by names made from their paths; none is opened.

    A location may also be a URL. Of a pyramid it is the finest level. Tables beside arrays, such as lists of points, are left out.

    Raises:
        StoreError: The location does not exist or holds no arrays.
    """
    if str(location).startswith("precomputed:"):
        return _config_of_volume(str(location))
    root: Path | Url
    if is_url(location):
        url = to_store(location)
        if isinstance(url, Path):
            return configs_of_store(url)
        root, dataset = _split_url(url)
    elif not location.exists() and re.search(r"[*?[]", str(location)):
        return {location.parent.name or "slices": TiffArrayConfig(location.parent.name or "slices", location)}
    else:
        root, dataset = split_location(location)
        if root.is_file() and not is_zip(root):
            return _configs_of_file(root, dataset)
    store = locate_store(root, None)
    if read_node(store, dataset) is None and (read_json(store / dataset / "info") or {}).get("scales"):
        return _config_of_volume(str(store / dataset))
    paths = _arrays_below(store, dataset)
    if not paths:
        other = folder_format(location) if isinstance(store, Path) else None
        found, allowed = (f"{location} is {other.name}", other.remedy) if other else (str(store / dataset), _READ)
        if not is_listable(store):
            allowed = "URL/DATASET: a web server does not list what it has"
        raise StoreError("the store holds no arrays", found, allowed)
    return {name: ZarrArrayConfig(name, root, path) for name, path in _names(paths, store).items()}


def _config_of_volume(location: str) -> dict[str, SourceConfig]:
    name = re.split(r"\W", location.rpartition("/")[2])[0] or "volume"
    return {name: PrecomputedArrayConfig(name, location)}


def _split_url(url: Url) -> tuple[Url, str]:
    """The store and the dataset of ``URL/DATASET``: the store ends with the last part that has a suffix such as ``.zarr``."""
    parts = url.text.split("/")
    end = max((number for number, part in enumerate(parts, 1) if _STORE.search(part)), default=len(parts))
    return Url("/".join(parts[:end])), "/".join(parts[end:])


def _arrays_in_metadata(root: StorePath, dataset: str) -> list[str]:
    """Paths of the arrays that the metadata of a store name: the array or pyramid at a path, or all consolidated ones."""
    if isinstance(find_node(root, dataset), ArrayNode) or pyramid_at(root, dataset) is not None:
        return [dataset]
    v2 = (read_json(root / ".zmetadata") or {}).get("metadata") or {}
    v3 = ((read_json(root / "zarr.json") or {}).get("consolidated_metadata") or {}).get("metadata") or {}
    paths = [key.removesuffix("/.zarray") for key in v2 if key.endswith("/.zarray")]
    paths += [key for key, document in v3.items() if document.get("node_type") == "array"]
    return [path for path in paths if not dataset or path.startswith(f"{dataset}/")]


def split_location(location: Path) -> tuple[Path, str]:
    """The store and the dataset of ``STORE/DATASET``. Raises StoreError if it does not exist.

    The store is the outermost folder with metadata, or with a suffix such as ``.zarr``.
    """
    # a folder that may not be entered, a name that no file can have
    with store_errors(location, "cannot read the file or folder"):
        nearest = next((path for path in (location, *location.parents) if path.exists()), None)
        root = nearest or location
        while not root.is_file() and has_document(root) and has_document(root.parent):
            root = root.parent
        if nearest is None or (nearest != location and not (root.is_file() or has_document(root))):
            raise StoreError("there is no such file or folder", found=str(location), allowed=_READ)
        if has_document(root):
            root = next((path for path in (root, *root.parents) if _STORE.search(path.name)), root)
    return root, location.relative_to(root).as_posix().removeprefix(".")


def _configs_of_file(path: Path, dataset: str) -> dict[str, SourceConfig]:
    other = file_format(path)
    kind = _TYPES.get((other and other.reader) or "")
    if kind is HDF5ArrayConfig:
        shapes = {
            name: shape
            for name, shape in list_datasets(path).items()
            if not dataset or f"{name}/".startswith(f"{dataset}/")
        }
        if not shapes:
            raise StoreError("no datasets of voxels", found=f"{path}/{dataset}")
        return {name: HDF5ArrayConfig(name, path, inner) for name, inner in _names(_volumes(shapes), path).items()}
    if kind is None or dataset:
        name, remedy = (f" is {other.name}", other.remedy) if other else ("", _READ)
        raise StoreError("not a store that is read", found=f"{path / dataset}{name}", allowed=remedy)
    return {path.stem: TiffArrayConfig(path.stem, path)}


def _arrays_below(root: StorePath, dataset: str) -> list[str]:
    """Paths of the arrays of a Zarr store, pyramids in place of their levels."""
    if not is_listable(root):
        paths: Iterable[str] = _arrays_in_metadata(root, dataset)
    else:
        if dataset and not is_there(root / dataset):
            find_node(root, dataset)  # its error names the nearest ones
        paths = datasets(root, MOST_ARRAYS, dataset)
    shapes: dict[str, Sequence[int]] = {}
    for path in paths:
        try:
            node = read_node(root, path)
            owner = _pyramid_of(root, path, dataset)
        except StoreError:
            shapes[path] = ()  # opening it says what is wrong
        else:
            shapes[path if owner is None else owner] = node.shape if isinstance(node, ArrayNode) else ()
    return _volumes(shapes)


def _pyramid_of(root: StorePath, path: str, below: str) -> str | None:
    """The path of the pyramid that an array is a level of, None if it is not below the requested path."""
    pyramid = pyramid_of(root, path)
    if pyramid is None or (below and not f"{pyramid.group}/".startswith(f"{below}/")):
        return None
    return pyramid.group


def _volumes(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """The paths of volumes, without lists of numbers and points; all paths if there is nothing else."""
    volumes = [
        path
        for path, shape in shapes.items()
        if len(shape) != 1 and not (len(shape) == 2 and shape[1] <= 3 and _POINTS.search(path.lower()))
    ]
    return volumes or list(shapes)


def _names(paths: Sequence[str], root: StorePath) -> dict[str, str]:
    """Paths by the shortest different names: as many of their last parts as are needed."""
    names: dict[str, str] = {}
    for path in paths:
        parts = path.split("/") if path else [re.split(r"\.(?=[^.]*[A-Za-z])", root.name)[0] or "array"]
        count = 2 if len(parts) > 1 and _LEVEL.fullmatch(parts[-1]) else 1
        while count < len(parts) and sum(_ends_with(other, parts[-count:]) for other in paths) > 1:
            count += 1
        name = "/".join(parts[-count:])
        while name in names or name in RESERVED:
            name += "-array"
        names[name] = path
    return names


def _ends_with(path: str, parts: Sequence[str]) -> bool:
    return path.split("/")[-len(parts) :] == list(parts)


def unit_of_configs(configs: Iterable[SourceConfig]) -> str:
    """The coarsest unit in which the voxel sizes and offsets of all arrays that can be opened are whole."""
    fitting = [lengths for lengths in lengths_of(configs) if coarsest_unit(lengths, DEFAULT_UNIT) is not None]
    quantities = [length for lengths in fitting for length in lengths]
    return coarsest_unit(quantities, DEFAULT_UNIT) or DEFAULT_UNIT if quantities else DEFAULT_UNIT


def with_labels_recognised(config: SourceConfig) -> SourceConfig:
    """The same config, with ``interpolatable=False`` if only its path says that it holds labels.

    Raises StoreError.
    """
    opened = config.open()
    path = str(config.fields().get("dataset") or opened.location).lower()
    if "interpolatable" in field_names(type(config)) and opened.interpolatable and opened.dtype.kind in "ui":
        return config.with_fields(interpolatable=False) if _LABELS.search(path) else config
    return config
