"""Which voxels of a dense label volume are usable for a loss, class by class."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import TreeError
from ..model import fields
from ..model.base import OneSourceConfig
from ..model.checks import require_ids
from ..model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
from .binarize import Groups, binarize, require_within, to_groups

logger = logging.getLogger(__name__)

#: The attribute of a label volume that lists its classes.
LABELS = "labels"
SPARSE = ("labelled", "ids")
#: What ``annotationState.annotated`` may say, and what it means.
ANNOTATED = {True: "dense", False: "empty", "dense": "dense", "sparse": "sparse", "empty": "empty"}


def usable_voxels(labels: Voxels, groups: Sequence[Collection[int] | bool]) -> Voxels:
    """uint8 of shape ``(len(groups), *labels.shape)``: 1 where a voxel is usable.

    For each group: True for every voxel above 0, False for none, or the ids that a voxel
    above 0 must carry.

    >>> usable_voxels(np.array([0, 3, 7]), [True, False, {7}]).tolist()
    [[0, 1, 1], [0, 0, 0], [0, 0, 1]]
    """
    out = np.empty((len(groups), *labels.shape), np.uint8)
    labelled = None
    for channel, group in zip(out.view(bool), groups, strict=True):
        if group is True and labelled is None:
            labelled = np.greater(labels, 0, out=channel)
        elif group is True:
            channel[...] = labelled
        elif not isinstance(group, bool) and (ids := [i for i in group if i > 0]):
            channel[...] = binarize(labels, [ids])[0]
        else:
            channel[...] = False
    return out


@attrs.frozen
class Annotations:
    """What the metadata of a label volume list: ids, those missing and those sparsely annotated."""

    listed: frozenset[int]
    missing: frozenset[int]
    sparse: frozenset[int]

    def missing_of(self, ids: Collection[int]) -> frozenset[int]:
        """The ids of a group that are present and not annotated."""
        return (frozenset(ids) or self.listed) & self.missing

    def channel(self, ids: Collection[int], sparse: str) -> Collection[int] | bool:
        """What a group's channel shows, as ``usable_voxels`` takes it."""
        ids = frozenset(ids) or self.listed
        if self.missing_of(ids):
            return False
        return ids if sparse == "ids" and ids & self.sparse else True


def parse_labels(value: Any) -> Annotations:
    """The ``labels`` attribute of a label volume, in any of its dialects.

    Raises TreeError that names the key, such as ``labels[2].annotationState.annotated``.

    >>> state = {"present": True, "annotated": "empty"}
    >>> parse_labels([{"value": 5, "annotationState": state}]).missing
    frozenset({5})
    """
    path = LABELS
    if isinstance(value, Mapping):
        value, path = _at(value, LABELS, path), f"{LABELS}.{LABELS}"
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise _malformed(path, value, "a list of labels")
    states: dict[int, tuple[bool, str]] = {}
    for i, item in enumerate(value):
        where = f"{path}[{i}]"
        label = _at(item, "value", where)
        if not fields.is_integer(label):
            raise _malformed(f"{where}.value", label, "an integer id")
        state, where_state = _at(item, "annotationState", where), f"{where}.annotationState"
        present = _at(state, "present", where_state)
        if not isinstance(present, bool):
            raise _malformed(f"{where_state}.present", present, "true or false")
        annotated = _at(state, "annotated", where_state)
        # 1 and 0 would look up as true and false
        if not isinstance(annotated, (bool, str)) or annotated not in ANNOTATED:
            raise _malformed(f"{where_state}.annotated", annotated, 'true, false, "dense", "sparse" or "empty"')
        current = present, ANNOTATED[annotated]
        if states.setdefault(int(label), current) != current:
            raise _malformed(f"{where}.value", label, "each id once, or always with the same state")
    return Annotations(
        frozenset(states),
        frozenset(i for i, state in states.items() if state == (True, "empty")),
        frozenset(i for i, state in states.items() if state == (True, "sparse")),
    )


def _at(value: Any, key: str, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _malformed(path, value, f"an object with {key!r}")
    if key not in value:
        raise _malformed(f"{path}.{key}", "nothing", "it is required")
    return value[key]


def _malformed(path: str, found: Any, allowed: str) -> TreeError:
    return TreeError(
        f"malformed annotation metadata at {path}", found=found if found == "nothing" else repr(found), allowed=allowed
    )


#: Configs whose remarks were logged, so that each is logged once.
_LOGGED: weakref.WeakSet[OneSourceConfig] = weakref.WeakSet()


@attrs.frozen(eq=False, repr=False)
class MissingAnnotationsMaskConfig(OneSourceConfig):
    """A uint8 channel for each group of ids: 1 where a voxel is usable for the group's loss.

    A voxel is usable where its label is above 0; label 0 means that nobody annotated the voxel. If the metadata
    list an id of the group as present in the volume but not annotated, no voxel of the channel is usable.
    The metadata are the attribute ``labels`` of the label volume: a list of ``{"value": id, "annotationState":
    {"present": ..., "annotated": ...}}``, or ``{"labels": [...]}`` with such a list. Crops and resampling keep
    the attribute. For an id that is present, ``annotated`` means:

    ========================================  =======================  ===================
    fibsem_tools before March 2023            later, cellmap_schemas   for the mask
    ========================================  =======================  ===================
    ``true``                                  ``"dense"``              annotated
    ``false``                                 ``"empty"``              missing: channel is 0
    (not possible)                            ``"sparse"``             see ``sparse``
    ========================================  =======================  ===================

    An id that is not present (``"present": false``) is known to be absent, so its voxels are usable, whatever
    ``annotated`` is. An id that is not listed counts as annotated. If the attribute is missing, every voxel above 0
    is usable in every channel. A missing attribute and each channel that is 0 everywhere are logged as a
    warning and shown by ``verify`` and ``explain``: ``gunpowder.Reject`` on such a channel never ends.

    Args:
        name: The array's name.
        source_array_config: Integer ids, without channels, never averaged.
        groupings: (name, ids) pairs as in BinarizeArrayConfig; the names are those of the
            channels. A group without ids is all listed ids.
        sparse: For a group with a sparsely annotated id: ``"labelled"`` keeps every voxel
            above 0, ``"ids"`` only voxels that carry an id of the group, as all others
            could be unlabelled voxels of it.

    Raises TreeError for malformed metadata, with path and key, and where an id is beyond
    the source's dtype.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> listed = [{"value": 3, "annotationState": {"present": True, "annotated": "dense"}},
    ...           {"value": 5, "annotationState": {"present": True, "annotated": "empty"}}]
    >>> ids = gpa.create_zarr(tempfile.mkdtemp() + "/a.zarr", "ids", roi=gpa.Roi((0, 0), (1, 3)),
    ...                       voxel_size=(1, 1), dtype="uint8", attributes={"labels": listed})
    >>> ids[:] = np.array([[0, 3, 7]])
    >>> mask = gpa.MissingAnnotationsMaskConfig("mask", ids.config, [("three", [3]), ("five", [5])])
    >>> mask.array()[:, 0].tolist()
    [[0, 1, 1], [0, 0, 0]]
    """

    supports_channel_subset = True
    is_mask = True
    keeps_constant = True
    node_name = "MissingAnnotations"
    node_attributes = (LABELS,)

    groupings: Groups = attrs.field(converter=to_groups)
    sparse: str = attrs.field(default="labelled", validator=fields.one_of(*SPARSE))

    def infer_from(self, source: Meta) -> Meta:
        require_ids(source, "MissingAnnotationsMask")
        require_within([i for _, ids in self.groupings for i in ids], source.dtype, "ids")
        self._channels(source)
        if self not in _LOGGED:
            _LOGGED.add(self)
            for remark in self.remarks(source):
                logger.warning("%s: %s", self.name, remark)
        names = tuple(name for name, _ in self.groupings)
        return attrs.evolve(
            source, dtype=np.uint8, nonspatial=(Axis(CHANNEL, len(names), names),), interpolatable=False
        )

    def remarks(self, *sources: Meta) -> Sequence[str]:
        (source,) = sources
        if LABELS not in source.attrs:
            name = self.source_array_config.name
            return [f"{name} has no attribute {LABELS!r}: every voxel above 0 counts as annotated for every group"]
        annotations = parse_labels(source.attrs[LABELS])
        remarks = []
        for name, ids in self.groupings:
            missing = [str(id) for id in sorted(annotations.missing_of(ids))]
            if missing:
                ids_text = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
                why = f"listed as present and not annotated: {ids_text}"
                why += "" if ids else " (a group without ids is all listed ids)"
                remarks.append(f"channel {name!r} is 0 throughout: {why}")
        return remarks

    def _channels(self, source: Meta) -> list[Collection[int] | bool]:
        if LABELS not in source.attrs:
            return [True] * len(self.groupings)
        annotations = parse_labels(source.attrs[LABELS])
        return [annotations.channel(ids, self.sparse) for _, ids in self.groupings]

    def _wanted(self, region: Region, meta: Meta, source: Meta) -> list[Collection[int] | bool]:
        ((first, last),) = meta.nonspatial_ranges(region)
        return self._channels(source)[first:last]

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region | None:
        # channels that are 0 everywhere need no voxel
        return region.whole() if any(group is not False for group in self._wanted(region, meta, source)) else None

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        (source,) = blocks
        if source is None:
            return np.zeros(meta.shape_of(region), np.uint8)
        return usable_voxels(source.data, self._wanted(region, meta, source.meta))
