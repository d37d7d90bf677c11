"""Values that a user writes into an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import RequestError, StoreError, quoted


def as_dtype(values: Any, dtype: np.dtype[Any], *path: str) -> np.ndarray[Any, Any]:
    """Numbers in a dtype. Integers must be held exactly, floats may be rounded.

    Raises:
        StoreError: Values that are not numbers, or that the dtype cannot hold.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:  # nested lists of different lengths
        raise StoreError("the values are not an array", found=str(error), path=path) from None
    if array.dtype.kind not in "buif":
        # integers beyond 64 bits are here too: numpy keeps them as objects
        raise StoreError(
            "the values are not numbers of at most 64 bits",
            found=quoted(values),
            allowed=f"what {dtype} holds exactly",
            path=path,
        )
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast, array):
        raise StoreError(
            "the values do not fit the array's dtype",
            found=f"{array.dtype} from {array.min()} to {array.max()}",
            allowed=f"what {dtype} holds exactly",
            path=path,
        )
    return cast


def broadcast(values: np.ndarray[Any, Any], shape: tuple[int, ...], *path: str) -> np.ndarray[Any, Any]:
    """The values in a shape, repeated as numpy does. Raises RequestError where they do not fit it."""
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise RequestError(
            "the values do not fit the region", found=f"shape {values.shape}", allowed=f"shape {shape}", path=path
        ) from None
