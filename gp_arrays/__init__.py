"""A declarative tree of volumetric arrays, compiled into the voxels people train on, look at and store."""

from funlib.geometry import Coordinate, Roi

from .errors import ComputeError, ConfigError, GpArraysError, RequestError, StoreError, TreeError
from .jobs import check_blocks, compare, materialize, status
from .model.array import Array
from .model.base import ArrayConfig, PointwiseConfig, SourceConfig
from .model.explain import explain
from .model.plan import compile_plan
from .sources.cellmap import CellMapArrayConfig, CellMapSource
from .sources.dummy import DummyArrayConfig, DummySource
from .sources.numpy_ import NumpyArrayConfig, NumpySource
from .sources.stores import create_zarr, open_zarr
from .sources.zarr_ import ZarrArrayConfig, ZarrSource
from .train.pipeline import compile_pipeline
from .transforms.binarize import Binarize, BinarizeArrayConfig
from .transforms.concat import Concat, ConcatArrayConfig
from .transforms.constant import Constant, ConstantArrayConfig
from .transforms.crop import Crop, CropArrayConfig
from .transforms.intensities import Intensities, IntensitiesArrayConfig
from .transforms.like import constant_like, ones_like
from .transforms.logical_or import LogicalOr, LogicalOrArrayConfig
from .transforms.merge_instances import MergeInstances, MergeInstancesArrayConfig, source_of_id
from .transforms.missing_annotations import MissingAnnotations, MissingAnnotationsMaskConfig
from .transforms.ones import Ones, OnesArrayConfig
from .transforms.resample import Resample, ResampledArrayConfig
from .transforms.select import Select, SelectArrayConfig
from .transforms.sum import Sum, SumArrayConfig
from .transforms.threshold import Threshold, ThresholdArrayConfig
from .trees.tree import load_tree, save_tree
from .viewer import view

__all__ = [
    "Array",
    "ArrayConfig",
    "Binarize",
    "BinarizeArrayConfig",
    "CellMapArrayConfig",
    "CellMapSource",
    "ComputeError",
    "Concat",
    "ConcatArrayConfig",
    "ConfigError",
    "Constant",
    "ConstantArrayConfig",
    "Coordinate",
    "Crop",
    "CropArrayConfig",
    "DummyArrayConfig",
    "DummySource",
    "GpArraysError",
    "Intensities",
    "IntensitiesArrayConfig",
    "LogicalOr",
    "LogicalOrArrayConfig",
    "MergeInstances",
    "MergeInstancesArrayConfig",
    "MissingAnnotations",
    "MissingAnnotationsMaskConfig",
    "NumpyArrayConfig",
    "NumpySource",
    "Ones",
    "OnesArrayConfig",
    "PointwiseConfig",
    "RequestError",
    "Resample",
    "ResampledArrayConfig",
    "Roi",
    "Select",
    "SelectArrayConfig",
    "SourceConfig",
    "StoreError",
    "Sum",
    "SumArrayConfig",
    "Threshold",
    "ThresholdArrayConfig",
    "TreeError",
    "ZarrArrayConfig",
    "ZarrSource",
    "check_blocks",
    "compare",
    "compile_pipeline",
    "compile_plan",
    "constant_like",
    "create_zarr",
    "explain",
    "load_tree",
    "materialize",
    "ones_like",
    "open_zarr",
    "save_tree",
    "source_of_id",
    "status",
    "view",
]
