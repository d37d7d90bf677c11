"""The metadata of N5 as Zarr v2 would write them. N5 lists axes x first, and x varies fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .other_formats import NotRead

#: The file that holds all metadata of an array or group.
ATTRIBUTES = "attributes.json"

#: Attributes that say how an array is stored; the others are the user's.
OWN_KEYS = frozenset(["dimensions", "blockSize", "dataType", "compression", "compressionType", "n5"])

#: For each compression of N5 the codec that decodes it.
CODECS = {"gzip": "gzip", "bzip2": "bz2", "xz": "lzma", "lz4": "lz4", "blosc": "blosc", "zstd": "zstd"}

#: Types of voxels.
DTYPES = tuple(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)) + ("float32", "float64")


def document_v2(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata document that an array would have in Zarr v2. Raises NotRead, KeyError, TypeError, ValueError.

    >>> document = document_v2({"dimensions": [7, 5], "blockSize": [4, 2], "dataType": "uint16",
    ...     "compression": {"type": "gzip", "useZlib": True}})
    >>> document["shape"], document["chunks"], document["dtype"], document["compressor"]
    ([5, 7], [2, 4], '>u2', {'id': 'zlib'})
    """
    dtype = attributes["dataType"]
    if attributes.get("isLabelMultiset"):
        raise NotRead("an array of label multisets", "labels as uint64, which Paintera exports")
    if dtype not in DTYPES:
        raise NotRead(f"dataType {dtype!r}", f"a copy as one of {', '.join(DTYPES)}")
    compression = attributes.get("compression", attributes.get("compressionType", "raw"))
    options = compression if isinstance(compression, dict) else {"type": compression}
    name = options["type"]
    if name not in ("raw", *CODECS):
        raise NotRead(f"compression {name!r}", f"a copy with one of raw, {', '.join(CODECS)}")
    codec = "zlib" if name == "gzip" and options.get("useZlib") else CODECS.get(name)
    return {
        "zarr_format": 2,
        "shape": _reversed(attributes["dimensions"]),
        "chunks": _reversed(attributes["blockSize"]),
        "dtype": np.dtype(dtype).newbyteorder(">").str,
        "order": "C",
        "fill_value": 0,
        "filters": None,
        "compressor": None if codec is None else {"id": codec},
        "dimension_separator": "/",
    }


def _reversed(values: Any) -> Any:
    return values[::-1] if isinstance(values, list) else values
