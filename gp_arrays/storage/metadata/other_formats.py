"""Formats that are not Zarr: another array type reads them, or a tool converts them."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from pathlib import Path

import attrs

#: How many bytes of a file are read to recognise its format.
LOOKED_AT = 512

_AS_ZARR = "gpa.create_zarr writes its voxels to a Zarr store"
_HDF5 = "HDF5ArrayConfig reads it (of BigDataViewer a dataset such as t00000/s00/0/cells)"


@attrs.frozen
class Format:
    """A format.

    Attributes:
        name: What a file or folder of that format is called.
        remedy: What to do with it.
        reader: The array type that reads it.
    """

    name: str
    remedy: str
    reader: str | None = None


class NotRead(Exception):
    """Valid metadata of something that this library does not read. ``remedy`` says what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy


_TIFF = Format("a TIFF file", "TiffArrayConfig reads it", "TiffArrayConfig")

#: For each format what is in its files, and from which byte on.
_FILES: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", Format("an HDF5 file", _HDF5, "HDF5ArrayConfig")),
    *((0, begin, _TIFF) for begin in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (0, b"\x89PNG", Format("a PNG file", "TiffArrayConfig reads it, or a pattern of such slices", "TiffArrayConfig")),
    (0, b"\x93NUMPY", Format("a file of numpy", f"NumpyArrayConfig takes numpy.load(path); {_AS_ZARR}")),
    (0, b"NRRD", Format("an NRRD file", f"pynrrd reads it; {_AS_ZARR}")),
    *((344, begin, Format("a NIfTI file", f"nibabel reads it; {_AS_ZARR}")) for begin in (b"n+1\0", b"ni1\0")),
    *((4, begin, Format("a NIfTI file", f"nibabel reads it; {_AS_ZARR}")) for begin in (b"n+2\0", b"ni2\0")),
    (208, b"MAP ", Format("an MRC file", f"mrcfile reads it, mrc2tif of IMOD converts it to TIFF; {_AS_ZARR}")),
    (0, b"WKW", Format("a WKW file", "the webknossos package converts its dataset to Zarr")),
)
_XML = Format("an XML file of BigDataViewer", "the N5 or HDF5 file that it names")
_WKW = Format("a dataset in WKW", "the webknossos package converts it to Zarr")
_PRECOMPUTED = Format("a Precomputed volume", "PrecomputedArrayConfig reads it")


def file_format(path: Path) -> Format | None:
    """The format of a file, None if it is not known. Raises OSError."""
    with path.open("rb") as file:
        begin = file.read(LOOKED_AT)
    if begin.startswith(b"\x1f\x8b"):  # NIfTI is often stored so
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
            begin = file.read(LOOKED_AT)
    for position, expected, format in _FILES:
        if begin[position:].startswith(expected):
            return format
    return _XML if b"<SpimData" in begin else None


def folder_format(folder: Path) -> Format | None:
    """The format of a folder that is no Zarr store, None if it is not known. Raises OSError."""
    if any((folder / name).is_file() for name in ("header.wkw", "datasource-properties.json")):
        return _WKW
    if (folder / "info").is_file():
        with contextlib.suppress(ValueError):
            info = json.loads((folder / "info").read_bytes())
            if isinstance(info, dict) and "scales" in info:
                return _PRECOMPUTED
    return None
