"""The shapes of chunks and shards that a user may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ConfigError, quoted
from ...model.fields import items_of, to_integer

#: Voxels along each spatial axis of a chunk, where nothing else is said.
CHUNK = 64


def to_chunks(value: Any, axes: Sequence[str], dims: int, what: str, dataset: str) -> tuple[int, ...]:
    """``value`` as voxels of all axes; the last ``dims``, the spatial ones, alone are completed by ones.

    Raises ConfigError.

    >>> to_chunks([8, 64, 64], ["c", "z", "y", "x"], 3, "chunks", "raw")
    (1, 8, 64, 64)
    """
    try:
        given = tuple(to_integer(n) for n in items_of(value, "integers"))
    except ConfigError:
        given = ()
    if len(given) == dims:
        given = (1,) * (len(axes) - dims) + given
    if len(given) != len(axes) or any(n < 1 for n in given):
        raise ConfigError(
            f"{what} must be one positive number of voxels per axis",
            found=quoted(value),
            allowed=f"axes {', '.join(axes)}",
            path=(dataset,),
        )
    return given


def require_whole_shards(shards: Sequence[int] | None, chunks: Sequence[int], format: int, dataset: str) -> None:
    """Raises ConfigError where shards are not whole chunks, or not to be had."""
    if shards is None:
        return
    if format != 3:
        raise ConfigError("shards need Zarr v3", found=f"zarr_format {format}", path=(dataset,))
    if any(s % c for s, c in zip(shards, chunks, strict=True)):
        raise ConfigError(
            "a shard must be whole chunks", found=f"shards {tuple(shards)}, chunks {tuple(chunks)}", path=(dataset,)
        )
