"""A declarative tree of volumetric arrays, compiled into the voxels people train on, look at and store."""

from funlib.geometry import Coordinate, Roi

from .errors import ComputeError, ConfigError, GpArraysError, RequestError, StoreError, TreeError
from .jobs import check_blocks, compare, materialize, status
from .model.array import Array
from .model.base import ArrayConfig, PointwiseConfig, SourceConfig
from .model.explain import explain
from .model.plan import compile_plan
from .sources.cellmap import CellMapArrayConfig
from .sources.dummy import DummyArrayConfig
from .sources.dvid import DVIDArrayConfig
from .sources.numpy_ import NumpyArrayConfig
from .sources.stores import create_zarr, open_zarr
from .sources.tiff import TiffArrayConfig
from .sources.zarr_ import ZarrArrayConfig
from .train.node_types import node_of
from .train.pipeline import compile_pipeline
from .train.shift import common_shift
from .transforms.binarize import BinarizeArrayConfig
from .transforms.concat import ConcatArrayConfig
from .transforms.constant import ConstantArrayConfig
from .transforms.crop import CropArrayConfig
from .transforms.dense_table import dense_table
from .transforms.intensities import IntensitiesArrayConfig
from .transforms.like import constant_like, ones_like
from .transforms.logical_or import LogicalOrArrayConfig
from .transforms.merge_instances import MergeInstancesArrayConfig, source_of_id
from .transforms.missing_annotations import MissingAnnotationsMaskConfig
from .transforms.ones import OnesArrayConfig
from .transforms.relabel import RelabelArrayConfig
from .transforms.resample import ResampledArrayConfig
from .transforms.select import SelectArrayConfig
from .transforms.sum import SumArrayConfig
from .transforms.threshold import ThresholdArrayConfig
from .trees.tree import load_tree, save_tree
from .viewer import view

CellMapSource = node_of(CellMapArrayConfig)
DummySource = node_of(DummyArrayConfig)
DVIDSource = node_of(DVIDArrayConfig)
NumpySource = node_of(NumpyArrayConfig)
ZarrSource = node_of(ZarrArrayConfig)
Binarize = node_of(BinarizeArrayConfig)
Concat = node_of(ConcatArrayConfig)
Constant = node_of(ConstantArrayConfig)
Crop = node_of(CropArrayConfig)
Intensities = node_of(IntensitiesArrayConfig)
LogicalOr = node_of(LogicalOrArrayConfig)
MergeInstances = node_of(MergeInstancesArrayConfig)
MissingAnnotations = node_of(MissingAnnotationsMaskConfig)
Ones = node_of(OnesArrayConfig)
Relabel = node_of(RelabelArrayConfig)
Resample = node_of(ResampledArrayConfig)
Select = node_of(SelectArrayConfig)
Sum = node_of(SumArrayConfig)
Threshold = node_of(ThresholdArrayConfig)

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
    "DVIDArrayConfig",
    "DVIDSource",
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
    "Relabel",
    "RelabelArrayConfig",
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
    "TiffArrayConfig",
    "TreeError",
    "ZarrArrayConfig",
    "ZarrSource",
    "check_blocks",
    "common_shift",
    "compare",
    "compile_pipeline",
    "compile_plan",
    "constant_like",
    "create_zarr",
    "dense_table",
    "explain",
    "load_tree",
    "materialize",
    "node_of",
    "ones_like",
    "open_zarr",
    "save_tree",
    "source_of_id",
    "status",
    "view",
]
