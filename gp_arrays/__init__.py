"""A declarative tree of volumetric arrays, compiled into the voxels people train on, look at and store.

Names are imported when they are first used, so that what needs gunpowder, daisy or Neuroglancer
does not slow down what does not. Type checkers and editors read them in ``__init__.pyi``, which
``python tests/stub.py`` writes.
"""

from importlib import import_module
from typing import Any

#: Modules and the names that they give to users.
_NAMES = {
    ".errors": ("ComputeError", "ConfigError", "GpArraysError", "RequestError", "StoreError", "TreeError"),
    ".jobs.progress": ("check_blocks", "finish", "status"),
    ".jobs.run": ("materialize",),
    ".jobs.settings": ("Storage", "Workers"),
    ".model.array": ("Array",),
    ".model.cache": ("set_cache_bytes",),
    ".model.base": ("ArrayConfig", "PointwiseConfig", "SourceConfig"),
    ".model.compare": ("compare",),
    ".model.explain": ("explain",),
    ".model.plan": ("compile_plan",),
    ".sources.stores": ("create_zarr", "open_zarr"),
    ".train.measure": ("measure_context",),
    ".train.counting": ("count",),
    ".train.node_types": ("node_of",),
    ".train.pipeline": ("compile_pipeline",),
    ".train.sampling": ("RandomLocationInMask",),
    ".train.shift": ("common_shift",),
    ".train.torch_dataset": ("TorchDataset", "TorchGridDataset"),
    ".transforms.dense_table": ("dense_table",),
    ".transforms.like": ("constant_like", "ones_like"),
    ".transforms.merge_instances": ("source_of_id",),
    ".trees.tree": ("load_tree", "save_tree"),
    ".viewer": ("view",),
    "funlib.geometry": ("Coordinate", "Roi"),
}

#: Array types: where each is, and the name of its gunpowder node.
_TYPES = {
    "AffinitiesArrayConfig": (".transforms.affinities", "Affinities"),
    "BinarizeArrayConfig": (".transforms.binarize", "Binarize"),
    "CellMapArrayConfig": (".sources.cellmap", "CellMapSource"),
    "ConcatArrayConfig": (".transforms.concat", "Concat"),
    "ConstantArrayConfig": (".transforms.constant", "Constant"),
    "CropArrayConfig": (".transforms.crop", "Crop"),
    "DVIDArrayConfig": (".sources.dvid", "DVIDSource"),
    "DistanceArrayConfig": (".transforms.distance", "Distance"),
    "DummyArrayConfig": (".sources.dummy", "DummySource"),
    "ErodeArrayConfig": (".transforms.erode", "Erode"),
    "HDF5ArrayConfig": (".sources.hdf5", "HDF5Source"),
    "IntensitiesArrayConfig": (".transforms.intensities", "Intensities"),
    "LSDArrayConfig": (".transforms.lsd", "LSD"),
    "LogicalOrArrayConfig": (".transforms.logical_or", "LogicalOr"),
    "MergeInstancesArrayConfig": (".transforms.merge_instances", "MergeInstances"),
    "MissingAnnotationsMaskConfig": (".transforms.missing_annotations", "MissingAnnotations"),
    "NumpyArrayConfig": (".sources.numpy_", "NumpySource"),
    "OnesArrayConfig": (".transforms.ones", "Ones"),
    "PipelineArrayConfig": (".train.pipeline_array", "PipelineArray"),
    "PrecomputedArrayConfig": (".sources.precomputed", "PrecomputedSource"),
    "RelabelArrayConfig": (".transforms.relabel", "Relabel"),
    "PredictArrayConfig": (".train.predict", "Predict"),
    "ResampledArrayConfig": (".transforms.resample", "Resample"),
    "SelectArrayConfig": (".transforms.select", "Select"),
    "SumArrayConfig": (".transforms.sum", "Sum"),
    "ThresholdArrayConfig": (".transforms.threshold", "Threshold"),
    "TiffArrayConfig": (".sources.tiff", "TiffSource"),
    "ZarrArrayConfig": (".sources.zarr_", "ZarrSource"),
}

_MODULES = {name: module for module, names in _NAMES.items() for name in names}
_MODULES |= {config: module for config, (module, _) in _TYPES.items()}
_CONFIGS = {node: config for config, (_, node) in _TYPES.items()}

#: The class names of the array types of this package.
ARRAY_TYPES = tuple(_TYPES)

__all__ = sorted([*_MODULES, *_CONFIGS])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(_MODULES[name], __name__), name)
    elif name in _CONFIGS:
        value = import_module(".train.node_types", __name__).node_of(__getattr__(_CONFIGS[name]))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
