"""The oracles of merged instances, missing annotations and CellMap crops, and random trees with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import zarr
from hypothesis import strategies as st

from gp_arrays.errors import ComputeError
from gp_arrays.model.config import Config
from gp_arrays.sources.cellmap import CellMapArrayConfig
from gp_arrays.sources.zarr_ import ZarrArrayConfig
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.testing.plain_zarr import write_plain_zarr
from gp_arrays.transforms.merge_instances import MergeInstancesArrayConfig
from gp_arrays.transforms.missing_annotations import MissingAnnotationsMaskConfig
from gp_arrays.transforms.relabel import RelabelArrayConfig

from .simple import common_part, smallest
from .simple_trees import ids, small
from .trees import Pool, grows

TOP = 2**64 - 1


@naive(MergeInstancesArrayConfig)
def merge_instances(config: MergeInstancesArrayConfig, naive: Naive) -> Volume:
    sources = [naive(source) for source in config.source_array_configs]
    offsets = config.id_offsets or [k * 2**40 for k in range(len(sources))]
    parts = common_part(sources)
    out = np.zeros(parts[0].data.shape, np.uint64)
    for index in np.ndindex(*out.shape):
        ids = []
        for k, part in enumerate(parts):
            own = int(part.data[index])
            above = [offset for offset in offsets if offset > offsets[k]]
            room = (min(above) if above else TOP) - offsets[k]
            if not 0 <= own <= room:
                raise ComputeError("an id is out of range")
            if own:
                ids.append(own + offsets[k])
        if len(ids) > 1 and config.overlap == "error":
            raise ComputeError("instances overlap")
        if ids:
            out[index] = ids[-1 if config.overlap == "last" else 0]
    return parts[0].with_data(out, interpolatable=False, averaged=False)


@naive(RelabelArrayConfig)
def relabel(config: RelabelArrayConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    pairs = config.mapping if config.table is None else [tuple(row) for row in np.load(config.table).tolist()]
    results = {0: 0, **dict(pairs or ())}
    largest = max([0, *(result for _, result in pairs or ())])
    dtype = config.dtype or np.dtype("uint64" if config.others == "keep" else smallest(0, largest, False))
    out = np.zeros(source.data.shape, dtype)
    for index, value in np.ndenumerate(source.data):
        id = int(value)
        if id < 0 or (id not in results and config.others == "error"):
            raise ComputeError("an id has no result", found=id)
        result = results.get(id, id if config.others == "keep" else 0)
        if result > np.iinfo(dtype).max:
            raise ComputeError("a result does not fit", found=result)
        out[index] = result
    return source.with_data(out, interpolatable=False)


def listed_labels(config: Config) -> Any:
    """The ``labels`` attribute of the store at the end of a chain of arrays with one source, or None."""
    while config.children():
        if len(config.children()) > 1:
            return None
        (config,) = config.children()
    if not isinstance(config, ZarrArrayConfig):
        return None
    labels = json.loads(Path(config.file_name, config.dataset, ".zattrs").read_text()).get("labels")
    return labels["labels"] if isinstance(labels, dict) else labels


@naive(MissingAnnotationsMaskConfig)
def missing_annotations(config: MissingAnnotationsMaskConfig, naive: Naive) -> Volume:
    source = naive(config.source_array_config)
    states = {item["value"]: item["annotationState"] for item in listed_labels(config) or ()}
    out = np.zeros((len(config.groupings), *source.data.shape), np.uint8)
    for channel, (_, group) in enumerate(config.groupings):
        chosen = list(group) or list(states)
        annotated = [states[i]["annotated"] for i in chosen if i in states and states[i]["present"]]
        if False in annotated or "empty" in annotated:
            continue
        for index, value in np.ndenumerate(source.data):
            narrow = config.sparse == "ids" and "sparse" in annotated
            out[(channel, *index)] = value > 0 and (not narrow or int(value) in chosen)
    names = tuple(name for name, _ in config.groupings)
    return source.with_data(out, nonspatial=("c",), channels=names, interpolatable=False)


@naive(CellMapArrayConfig)
def cellmap(config: CellMapArrayConfig, naive: Naive) -> Volume:
    crop = Path(config.file_name, config.dataset)
    level = config.scale or 0

    def attributes(path: Path) -> Any:
        return json.loads((path / ".zattrs").read_text())

    listed = attributes(crop)["cellmap"]["annotation"]["class_names"]
    arrays = {}
    for name in [name for name in listed if (crop / name).exists()]:
        image = attributes(crop / name)["multiscales"][0]
        described = image["datasets"][level]
        folder = crop / name / described["path"]
        metadata = attributes(folder).get("cellmap") or attributes(crop / name)["cellmap"]
        voxels = np.asarray(zarr.open(str(folder), mode="r")[...])
        arrays[name] = voxels, metadata["annotation"]["annotation_type"]["encoding"]
        scale, centre = (described["coordinateTransformations"][i][k] for i, k in enumerate(("scale", "translation")))
        finest = image["datasets"][0]["coordinateTransformations"][0]["scale"]
        begin = tuple(int(c - (s - f) / 2) for c, s, f in zip(centre, scale, finest, strict=True))
    (shape,) = {voxels.shape for voxels, _ in arrays.values()}
    channels = {}
    for item in config.classes:
        name, parts = (item, (item,)) if isinstance(item, str) else item
        channels[name] = np.zeros(shape, np.uint8)
        for index in np.ndindex(*shape):
            known, there = [], []
            for part in parts:
                voxels, encoding = arrays.get(part, (np.full(shape, -1), {"unknown": -1}))
                value = int(voxels[index])
                if "present" in encoding and value not in encoding.values():
                    raise ComputeError("a value is not in the encoding")
                known.append(value != encoding.get("unknown"))
                there.append(
                    value == encoding["present"]
                    if "present" in encoding
                    else known[-1] and value != encoding.get("absent")
                )
            channels[name][index] = all(known) if config.output == "mask" else any(there)
    return Volume(np.stack(list(channels.values())), begin, tuple(map(int, scale)), ("c",), tuple(channels))


@grows(MergeInstancesArrayConfig)
def grow_merge(pool: Pool, name: str) -> Any:
    chosen = pool.pick_several(1, 3, ids)
    if not chosen:
        return None
    count = len(chosen)
    offsets = pool.draw(
        st.none()
        | st.lists(
            st.sampled_from([0, 1, 300, 2**20, 2**40, 2**63, TOP - 1]), min_size=count, max_size=count, unique=True
        )
    )
    overlap = pool.draw(st.sampled_from(["first", "last", "error"]))
    return MergeInstancesArrayConfig(name, [member.config for member in chosen], offsets, overlap)


@grows(RelabelArrayConfig)
def grow_relabel(pool: Pool, name: str) -> Any:
    source = pool.pick(lambda v: small(v) and v.data.dtype.kind in "ui" and not v.averaged)
    if source is None:
        return None
    present = sorted({int(i) for i in source.volume.data.ravel() if i >= 0})
    id = st.integers(0, 5) | st.sampled_from([*present, 2**53 + 1, TOP])
    pairs = sorted(pool.draw(st.dictionaries(id, st.sampled_from([0, 1, 300, 2**53 + 1, TOP]), max_size=6)).items())
    others = pool.draw(st.sampled_from(["keep", "zero", "error"]))
    largest = max([0, *(result for _, result in pairs)])
    dtypes = [d for d in ("uint8", "int16", "uint64") if largest <= np.iinfo(d).max]
    dtype = pool.draw(st.none() | st.sampled_from(dtypes))
    if pool.draw(st.booleans()):
        return RelabelArrayConfig(name, source.config, mapping=pairs, others=others, dtype=dtype)
    columns = np.array(pool.draw(st.permutations(pairs)), np.uint64).reshape(-1, 2)
    path = pool.folder / f"{_name(columns, 'table')}.npy"
    if not path.exists():
        np.save(path, columns)
    return RelabelArrayConfig(name, source.config, path, others=others, dtype=dtype)


@grows(MissingAnnotationsMaskConfig)
def grow_missing(pool: Pool, name: str) -> Any:
    sparse = pool.draw(st.sampled_from(["labelled", "ids"]))
    groups = pool.draw(st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=3))
    groupings = [(f"g{i}", group) for i, group in enumerate(groups)]
    source = pool.pick(ids)
    if source is not None and pool.draw(st.booleans()):
        return MissingAnnotationsMaskConfig(name, source.config, groupings, sparse)
    annotated = st.sampled_from([True, False, "dense", "sparse", "empty"])
    states = pool.draw(st.dictionaries(st.integers(0, 5), st.tuples(st.booleans(), annotated), max_size=4))
    labels: Any = [
        {"value": i, "annotationState": {"present": present, "annotated": how}} for i, (present, how) in states.items()
    ]
    shape = tuple(pool.draw(st.integers(1, 5)) for _ in range(pool.dims))
    volume = np.array(
        pool.draw(st.lists(st.integers(0, 5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    )
    attributes = {
        "voxel_size": pool.voxel_size,
        "offset": pool.place(shape),
        "units": ["nm"] * pool.dims,
        "labels": {"labels": labels} if pool.draw(st.booleans()) else labels,
    }
    volume = volume.reshape(shape).astype(pool.draw(st.sampled_from(["uint8", "int16", "uint64"])))
    path = f"labels/{_name(volume, attributes)}"
    if not (pool.folder / "random.zarr" / path).exists():
        write_plain_zarr(pool.folder / "random.zarr" / path, volume, (2,) * pool.dims, attributes)
    return MissingAnnotationsMaskConfig(
        name, ZarrArrayConfig(f"{name} labels", pool.folder / "random.zarr", path), groupings, sparse
    )


def _name(data: np.ndarray[Any, Any], attributes: Any) -> str:
    return hashlib.blake2b(
        data.tobytes() + repr((data.shape, data.dtype, attributes)).encode(), digest_size=12
    ).hexdigest()


ENCODINGS: tuple[dict[str, int], ...] = (
    {"absent": 0, "present": 1},
    {"absent": 0, "present": 1, "unknown": 255},
    {"unknown": 0, "present": 1},
    {"absent": 0, "unknown": 255},
    {"absent": 3},
    {},
)


@attrs.frozen
class StoredClass:
    """A class of a crop on disk: its voxels and the meaning of their values."""

    voxels: np.ndarray[Any, Any]
    encoding: dict[str, int]


def write_crop(
    folder: Path, classes: dict[str, StoredClass], begin: Any, voxel_size: Any, more: Any = (), chunks: int = 2
) -> None:
    """A crop in CellMap's layout, with one level; ``more`` are classes that are listed but do not exist."""
    for path in (folder, *(folder / name for name in classes)):
        path.mkdir(parents=True)
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    attributes = {"cellmap": {"annotation": {"class_names": [*classes, *more]}}}
    (folder / ".zattrs").write_text(json.dumps(attributes))
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"[-len(begin) :]]
    transformations = [
        {"type": "scale", "scale": list(voxel_size)},
        {"type": "translation", "translation": list(begin)},
    ]
    image = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": transformations}]}
    ]
    for name, stored in classes.items():
        (folder / name / ".zattrs").write_text(json.dumps({"multiscales": image}))
        kind = "semantic_segmentation" if "present" in stored.encoding else "instance_segmentation"
        own = {"class_name": name, "annotation_type": {"type": kind, "encoding": stored.encoding}}
        write_plain_zarr(folder / name / "s0", stored.voxels, (chunks,) * len(begin), {"cellmap": {"annotation": own}})


@grows(CellMapArrayConfig)
def grow_cellmap(pool: Pool, name: str) -> Any:
    shape = tuple(pool.draw(st.integers(1, 4)) for _ in range(pool.dims))
    count, classes = int(np.prod(shape)), {}
    for which in ("mito", "er")[: pool.draw(st.integers(1, 2))]:
        encoding = pool.draw(st.sampled_from(ENCODINGS))
        values = list(encoding.values()) if "present" in encoding else [0, 3, 7, 255]
        voxels = pool.draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))
        classes[which] = StoredClass(np.array(voxels, np.uint8).reshape(shape), encoding)
    begin = pool.place(shape)
    content = repr([(which, stored.voxels.tolist(), stored.encoding) for which, stored in classes.items()])
    path = hashlib.blake2b(repr((shape, begin, pool.voxel_size, content)).encode(), digest_size=12).hexdigest()
    if not (pool.folder / "crops.zarr" / path).exists():
        write_crop(pool.folder / "crops.zarr" / path, classes, begin, pool.voxel_size, ["golgi"])
    items: Any = st.sampled_from(["mito", "er", "golgi", "nowhere"]) | st.tuples(
        st.sampled_from(["both", "others"]), st.lists(st.sampled_from(["mito", "er", "golgi"]), min_size=1, unique=True)
    )
    chosen = pool.draw(st.lists(items, min_size=1, max_size=3, unique_by=lambda i: i if isinstance(i, str) else i[0]))
    output = pool.draw(st.sampled_from(["target", "mask"]))
    return CellMapArrayConfig(name, pool.folder / "crops.zarr", path, chosen, output=output)
