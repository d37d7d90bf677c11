"""Written by ``python tests/stub.py``."""

from collections.abc import Mapping, Sequence
from typing import Any

import gunpowder as gp
from funlib.geometry import Coordinate as Coordinate
from funlib.geometry import Roi as Roi

from .errors import ComputeError as ComputeError
from .errors import ConfigError as ConfigError
from .errors import GpArraysError as GpArraysError
from .errors import RequestError as RequestError
from .errors import StoreError as StoreError
from .errors import TreeError as TreeError
from .jobs.progress import check_blocks as check_blocks
from .jobs.progress import finish as finish
from .jobs.progress import status as status
from .jobs.run import materialize as materialize
from .jobs.settings import Storage as Storage
from .jobs.settings import Workers as Workers
from .model.array import Array as Array
from .model.base import ArrayConfig as ArrayConfig
from .model.base import PointwiseConfig as PointwiseConfig
from .model.base import SourceConfig as SourceConfig
from .model.cache import set_cache_bytes as set_cache_bytes
from .model.compare import compare as compare
from .model.explain import explain as explain
from .model.plan import compile_plan as compile_plan
from .sources.cellmap import CellMapArrayConfig as CellMapArrayConfig
from .sources.dummy import DummyArrayConfig as DummyArrayConfig
from .sources.dvid import DVIDArrayConfig as DVIDArrayConfig
from .sources.hdf5 import HDF5ArrayConfig as HDF5ArrayConfig
from .sources.numpy_ import NumpyArrayConfig as NumpyArrayConfig
from .sources.precomputed import PrecomputedArrayConfig as PrecomputedArrayConfig
from .sources.stores import create_zarr as create_zarr
from .sources.stores import open_zarr as open_zarr
from .sources.tiff import TiffArrayConfig as TiffArrayConfig
from .sources.zarr_ import ZarrArrayConfig as ZarrArrayConfig
from .train.counting import count as count
from .train.measure import measure_context as measure_context
from .train.node_types import node_of as node_of
from .train.pipeline import common_shift as common_shift
from .train.pipeline import compile_pipeline as compile_pipeline
from .train.pipeline_array import PipelineArrayConfig as PipelineArrayConfig
from .train.predict import PredictArrayConfig as PredictArrayConfig
from .train.sampling import RandomLocationInMask as RandomLocationInMask
from .train.torch_dataset import TorchDataset as TorchDataset
from .train.torch_dataset import TorchGridDataset as TorchGridDataset
from .transforms.affinities import AffinitiesArrayConfig as AffinitiesArrayConfig
from .transforms.binarize import BinarizeArrayConfig as BinarizeArrayConfig
from .transforms.concat import ConcatArrayConfig as ConcatArrayConfig
from .transforms.constant import ConstantArrayConfig as ConstantArrayConfig
from .transforms.crop import CropArrayConfig as CropArrayConfig
from .transforms.dense_table import dense_table as dense_table
from .transforms.distance import DistanceArrayConfig as DistanceArrayConfig
from .transforms.erode import ErodeArrayConfig as ErodeArrayConfig
from .transforms.intensities import IntensitiesArrayConfig as IntensitiesArrayConfig
from .transforms.like import constant_like as constant_like
from .transforms.like import ones_like as ones_like
from .transforms.logical_or import LogicalOrArrayConfig as LogicalOrArrayConfig
from .transforms.lsd import LSDArrayConfig as LSDArrayConfig
from .transforms.merge_instances import MergeInstancesArrayConfig as MergeInstancesArrayConfig
from .transforms.merge_instances import source_of_id as source_of_id
from .transforms.missing_annotations import MissingAnnotationsMaskConfig as MissingAnnotationsMaskConfig
from .transforms.ones import OnesArrayConfig as OnesArrayConfig
from .transforms.relabel import RelabelArrayConfig as RelabelArrayConfig
from .transforms.resample import ResampledArrayConfig as ResampledArrayConfig
from .transforms.select import SelectArrayConfig as SelectArrayConfig
from .transforms.sum import SumArrayConfig as SumArrayConfig
from .transforms.threshold import ThresholdArrayConfig as ThresholdArrayConfig
from .trees.tree import load_tree as load_tree
from .trees.tree import save_tree as save_tree
from .viewer import view as view

ARRAY_TYPES: tuple[str, ...]

class Affinities(gp.BatchFilter):  # type: ignore[misc]
    """A uint8 channel for each offset: 1 where a voxel and the voxel at that offset carry one label."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        offsets: Any,
        output: str = "affinities",
        mask: gp.ArrayKey | None = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class Binarize(gp.BatchFilter):  # type: ignore[misc]
    """A uint8 channel for each group of ids: 1 where a voxel carries one of them."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        groupings: Any,
        background: Any = 0,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class CellMapSource(gp.BatchProvider):  # type: ignore[misc]
    """Annotations in CellMap's layout: a crop group with a pyramid for each annotated class."""

    def __init__(
        self,
        key: gp.ArrayKey,
        file_name: Any,
        dataset: Any,
        classes: Any,
        scale: Any = None,
        output: str = "target",
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Concat(gp.BatchFilter):  # type: ignore[misc]
    """Arrays as channels of one, in the order of ``channels``; the roi is their intersection."""

    def __init__(
        self,
        sources: Mapping[str, gp.ArrayKey],
        target: gp.ArrayKey,
        channels: Any = None,
        default: gp.ArrayKey | None = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class Constant(gp.BatchFilter):  # type: ignore[misc]
    """The extent, voxel size and axes of an array, and one value everywhere."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        constant: Any = 1,
        dtype: Any = None,
    ) -> None: ...

class Crop(gp.BatchFilter):  # type: ignore[misc]
    """The part of an array that lies within a roi. Nothing is copied."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        roi: Any,
    ) -> None: ...

class DVIDSource(gp.BatchProvider):  # type: ignore[misc]
    """A data instance of a DVID server: grey values, colours or labels."""

    def __init__(
        self,
        key: gp.ArrayKey,
        source: Any,
        scale: Any = 0,
        supervoxels: Any = False,
        extent: Any = None,
        voxel_size: Any = None,
        offset: Any = None,
        unit: Any = None,
        interpolatable: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Distance(gp.BatchFilter):  # type: ignore[misc]
    """float32: the distance of each voxel to the nearest one with another value, in world units."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        reach: Any,
        output: str = "boundary",
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class DummySource(gp.BatchProvider):  # type: ignore[misc]
    """float64 zeros of shape (100, 50, 50) at voxel size (1, 2, 2), offset 0."""

    def __init__(
        self,
        key: gp.ArrayKey,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Erode(gp.BatchFilter):  # type: ignore[misc]
    """Labels without the voxels near another label or background: those become 0."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        steps: Any = 1,
        only_xy: Any = False,
        mask: gp.ArrayKey | None = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class HDF5Source(gp.BatchProvider):  # type: ignore[misc]
    """A dataset of an HDF5 file."""

    def __init__(
        self,
        key: gp.ArrayKey,
        file_name: Any,
        dataset: Any,
        axes: Any = None,
        voxel_size: Any = None,
        offset: Any = None,
        unit: Any = None,
        interpolatable: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Intensities(gp.BatchFilter):  # type: ignore[misc]
    """float32 of ``(x - min) / (max - min)``."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        min: Any,
        max: Any,
        clip: Any = False,
    ) -> None: ...

class LSD(gp.BatchFilter):  # type: ignore[misc]
    """Local shape descriptors, float32 between 0 and 1: what a label is like around each voxel."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        sigma: Any,
        downsample: Any = 1,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class LogicalOr(gp.BatchFilter):  # type: ignore[misc]
    """uint8: 1 where any channel of an array is not zero, else 0. The channel axis goes."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class MergeInstances(gp.BatchFilter):  # type: ignore[misc]
    """The instances of several label volumes in one uint64 volume; the roi is their intersection."""

    def __init__(
        self,
        sources: Sequence[gp.ArrayKey],
        target: gp.ArrayKey,
        id_offsets: Any = None,
        overlap: str = "first",
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class MissingAnnotations(gp.BatchFilter):  # type: ignore[misc]
    """A uint8 channel for each group of ids: 1 where a voxel is usable for the group's loss."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        groupings: Any,
        sparse: str = "labelled",
        *,
        labels: Any = None,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class NumpySource(gp.BatchProvider):  # type: ignore[misc]
    """Voxels in memory."""

    def __init__(
        self,
        key: gp.ArrayKey,
        data: Any,
        offset: Any = None,
        voxel_size: Any = None,
        axes: Any = None,
        unit: Any = None,
        interpolatable: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Ones(gp.BatchFilter):  # type: ignore[misc]
    """bool ones with the extent, voxel size and axes of an array. No voxel of the array is read."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
    ) -> None: ...

class PipelineArray(gp.BatchFilter):  # type: ignore[misc]
    """What gunpowder nodes compute from an array: ``append(pipeline, source, target, **arguments)``."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        append: Any,
        context_size: Any = None,
        tile_size: Any = None,
        dtype: Any = None,
        channels: Any = None,
        voxel_size: Any = None,
        padded: Any = False,
        arguments: Any = {},
        fingerprint: Any = (),
        interpolatable: Any = None,
        stride: Any = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class PrecomputedSource(gp.BatchProvider):  # type: ignore[misc]
    """A scale of a volume in Neuroglancer's precomputed format, in a folder or behind a URL."""

    def __init__(
        self,
        key: gp.ArrayKey,
        file_name: Any,
        scale: Any = 0,
        voxel_size: Any = None,
        offset: Any = None,
        unit: Any = None,
        interpolatable: Any = None,
        storage_options: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class Predict(gp.BatchFilter):  # type: ignore[misc]
    """What a torch network predicts from an array, computed in whole tiles on one grid."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        model: Any,
        checkpoint: Any = None,
        tile_size: Any = None,
        context_size: Any = None,
        channels: Any = None,
        dtype: Any = ...,
        output_scale: Any = None,
        batch_size: Any = 1,
        device: Any = "auto",
        padded: str = "no",
        stride: Any = None,
        voxel_size: Any = None,
        autocast: str | None = None,
        arguments: Any = {},
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class Relabel(gp.BatchFilter):  # type: ignore[misc]
    """Ids replaced by those that a table gives: neurons for supervoxels, merges, or 1, 2, 3, ... for large ids."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        table: Any = None,
        mapping: Any = None,
        others: str = "keep",
        dtype: Any = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class Resample(gp.BatchFilter):  # type: ignore[misc]
    """An array at another voxel size: smaller by ``upsample``, larger by ``downsample``, on each spatial axis."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        upsample: Any,
        downsample: Any,
        interp_order: Any,
        downsample_by: str | None = None,
    ) -> None: ...

class Select(gp.BatchFilter):  # type: ignore[misc]
    """Some channels, samples or times of an array. The others are not read."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        channels: Any = None,
        at: Any = None,
        *,
        axes: Sequence[str] | None = None,
    ) -> None: ...

class Sum(gp.BatchFilter):  # type: ignore[misc]
    """The sum of several arrays, voxel by voxel. The roi is the intersection of their rois."""

    def __init__(
        self,
        sources: Sequence[gp.ArrayKey],
        target: gp.ArrayKey,
        dtype: Any = None,
    ) -> None: ...

class Threshold(gp.BatchFilter):  # type: ignore[misc]
    """uint8: 1 where the source is above a threshold, else 0."""

    def __init__(
        self,
        source: gp.ArrayKey,
        target: gp.ArrayKey,
        threshold: Any,
        above: Any = True,
    ) -> None: ...

class TiffSource(gp.BatchProvider):  # type: ignore[misc]
    """A TIFF file (BigTIFF, OME-TIFF, ImageJ hyperstack, pages), or a stack of TIFF or PNG slices, read lazily."""

    def __init__(
        self,
        key: gp.ArrayKey,
        file_name: Any,
        offset: Any = None,
        voxel_size: Any = None,
        axes: Any = None,
        units: Any = None,
        interpolatable: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

class ZarrSource(gp.BatchProvider):  # type: ignore[misc]
    """A chunked array in a store on disk or at a URL: Zarr v2, v3 or N5, which is read only."""

    def __init__(
        self,
        key: gp.ArrayKey,
        file_name: Any,
        dataset: Any,
        snap_to_grid: Any = None,
        axes: Any = None,
        mode: str = "r",
        scale: Any = None,
        storage_options: Any = None,
        voxel_size: Any = None,
        offset: Any = None,
        unit: Any = None,
        interpolatable: Any = None,
        *,
        tree_unit: Any = None,
    ) -> None: ...

__all__ = [
    "Affinities",
    "AffinitiesArrayConfig",
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
    "Distance",
    "DistanceArrayConfig",
    "DummyArrayConfig",
    "DummySource",
    "Erode",
    "ErodeArrayConfig",
    "GpArraysError",
    "HDF5ArrayConfig",
    "HDF5Source",
    "Intensities",
    "IntensitiesArrayConfig",
    "LSD",
    "LSDArrayConfig",
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
    "PipelineArray",
    "PipelineArrayConfig",
    "PointwiseConfig",
    "PrecomputedArrayConfig",
    "PrecomputedSource",
    "Predict",
    "PredictArrayConfig",
    "RandomLocationInMask",
    "Relabel",
    "RelabelArrayConfig",
    "RequestError",
    "Resample",
    "ResampledArrayConfig",
    "Roi",
    "Select",
    "SelectArrayConfig",
    "SourceConfig",
    "Storage",
    "StoreError",
    "Sum",
    "SumArrayConfig",
    "Threshold",
    "ThresholdArrayConfig",
    "TiffArrayConfig",
    "TiffSource",
    "TorchDataset",
    "TorchGridDataset",
    "TreeError",
    "Workers",
    "ZarrArrayConfig",
    "ZarrSource",
    "check_blocks",
    "common_shift",
    "compare",
    "compile_pipeline",
    "compile_plan",
    "constant_like",
    "count",
    "create_zarr",
    "dense_table",
    "explain",
    "finish",
    "load_tree",
    "materialize",
    "measure_context",
    "node_of",
    "ones_like",
    "open_zarr",
    "save_tree",
    "set_cache_bytes",
    "source_of_id",
    "status",
    "view",
]
