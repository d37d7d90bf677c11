"""The shapes of chunks and shards that a user may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ConfigError, quoted
from ...model.fields import items_of, to_integer

#: Voxels along each spatial axis of a chunk, where nothing else is said.
CHUNK = 64


def to_chunks(value: Any, axes: Sequence[str], dims: int, name: str, dataset: str) -> tuple[int, ...]:
    """``value`` as voxels of all axes; the last ``dims``, the spatial ones, alone are completed by ones.

    Raises ConfigError.

    >>> to_chunks([8, 64, 64], ["c", "z", "y", "x"], 3, "chunks", "raw")
    (1, 8, 64, 64)
    """
    try:
        lengths = tuple(to_integer(n) for n in items_of(value, "integers"))
    except ConfigError:
        lengths = ()
    if len(lengths) == dims:
        lengths = (1,) * (len(axes) - dims) + lengths
    if len(lengths) != len(axes) or any(n < 1 for n in lengths):
        raise ConfigError(
            f"{name} must be one positive number of voxels per axis",
            found=quoted(value),
            allowed=f"axes {', '.join(axes)}",
            path=(dataset,),
        )
    return lengths


def require_whole_shards(shards: Sequence[int] | None, chunks: Sequence[int], format: int, dataset: str) -> None:
    """Raises ConfigError if shards are not whole chunks, or the format has no shards."""
    if shards is None:
        return
    if format != 3:
        raise ConfigError("shards need Zarr v3", found=f"zarr_format {format}", path=(dataset,))
    if any(s % c for s, c in zip(shards, chunks, strict=True)):
        raise ConfigError(
            "a shard must be whole chunks", found=f"shards {tuple(shards)}, chunks {tuple(chunks)}", path=(dataset,)
        )
