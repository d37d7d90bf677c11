"""A declarative tree of volumetric arrays, compiled into the voxels people train on, look at and store.

From a config to its voxels, with the module of each step:

1. A config says what an array is, as data: ``labels = ZarrArrayConfig("labels", "a.zarr", "labels/neurons")``, and
   computed from it ``masks = BinarizeArrayConfig("masks", labels, [("axon", [115, 182])])``. Configs are checked when
   they are made, and never open a file by themselves (``model.config``, ``model.base``, ``sources``, ``transforms``).
   A tree of them is kept in a file by ``save_tree`` and ``load_tree`` (``trees``).
2. ``compile_plan`` brings the configs of a tree into one order, sources first and equal ones once. It opens each
   source, which gives its meta: roi, voxel size, axes, dtype. The meta of a computed array follows from those of its
   sources by the type's rule ``infer``. What does not fit is an error that names the array (``model.plan``,
   ``model.meta``, ``model.opened``, ``storage``).
3. ``masks.array()`` is a handle on the plan: ``array[roi]`` or ``array[2:5, :, 10]`` becomes a region of one step of
   the plan (``model.array``, ``model.indexing``).
4. From that region the tasks follow, from the last step back to the sources: each type's rule ``context`` says which
   regions of its sources a region needs. What several arrays need of one source is read once (``make_tasks``).
5. The tasks run in order. A source reads its chunks, any other type computes its region from the blocks of its
   sources by its rule ``compute`` and a kernel, a function of numpy arrays. A block is dropped after the last task
   that needs it (``run``, both in ``model.evaluate``).

Everything else asks for voxels in the same way. ``compile_pipeline`` makes a gunpowder pipeline with one node for each
step, such as ``Binarize``, which runs the step on the voxels of a batch (``train``). ``materialize`` lets the workers
of daisy write block after block (``jobs``). ``view`` computes the chunks that Neuroglancer asks for (``viewer``). The
command line ``gp-arrays`` does these things for tree files (``cli``). A type of one's own states the three rules and
takes what it needs from ``gp_arrays.extension``.

Names are imported when they are first used, so that what needs gunpowder, daisy or Neuroglancer does not slow down
what does not. Type checkers and editors read them in ``__init__.pyi``, which ``python tests/stub.py`` writes.
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
    ".train.pipeline": ("common_shift", "compile_pipeline"),
    ".train.sampling": ("RandomLocationInMask",),
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
