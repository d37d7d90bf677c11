"""The encodings of Neuroglancer precomputed chunks: bytes in, voxels c, z, y, x out."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..access.files import needs_extra

Voxels = np.ndarray[Any, Any]

#: The encodings that are images, and the decoder of each in imagecodecs.
IMAGES = {"jpeg": "jpeg8_decode", "png": "png_decode", "jxl": "jpegxl_decode"}
#: What such images end in.
ENDINGS = {"jpeg": b"\xff\xd9", "png": b"IEND\xaeB`\x82"}
ENCODINGS = ("raw", "compressed_segmentation", *IMAGES)

#: Endings of the names of files that are compressed once more, as cloud-volume does on a disk.
SUFFIXES = ("", ".gz", ".br", ".zstd")
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"


def uncompressed(data: bytes, suffix: str = "") -> bytes:
    """The bytes of a file, decompressed if they begin as gzip or zstd do or if ``suffix`` is that of brotli."""
    if data.startswith(_GZIP):
        return gzip.decompress(data)
    if data.startswith(_ZSTD):
        from numcodecs.zstd import Zstd

        return bytes(Zstd().decode(data))
    return _imagecodecs("brotli").brotli_decode(data) if suffix == ".br" else data


def _imagecodecs(wanted: str) -> Any:
    with needs_extra("tiff", wanted):
        import imagecodecs
    return imagecodecs


def decode(
    data: bytes,
    encoding: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    block: Sequence[int] | None,
    box: Sequence[slice],
) -> Voxels:
    """The voxels of a part of a chunk.

    Args:
        data: As stored, or compressed once more with gzip or zstd.
        encoding: One of ``ENCODINGS``.
        shape: Of the chunk: channels, z, y, x.
        dtype: Of the voxels, little-endian.
        block: The blocks of ``compressed_segmentation``: z, y, x.
        box: Ranges along all axes.

    Raises:
        ValueError: The bytes are no chunk of that shape; other errors of the codecs.
        StoreError: imagecodecs is not installed.
    """
    size = math.prod(shape) * dtype.itemsize
    if encoding != "raw" or len(data) != size:
        data = uncompressed(data)
    if encoding == "raw":
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes instead of {size}")
        return np.frombuffer(data, dtype).reshape(shape)[tuple(box)]
    if encoding == "compressed_segmentation":
        assert block is not None
        return _labels(data, shape, dtype, block, box)
    return _image(data, encoding, shape, dtype)[tuple(box)]


def _image(data: bytes, encoding: str, shape: Sequence[int], dtype: np.dtype[Any]) -> Voxels:
    """A chunk stored as one image, whose rows are those of all planes and whose colours are channels."""
    if not data.rstrip(b"\0").endswith(ENDINGS.get(encoding, b"")):
        raise ValueError("the image is truncated")  # the decoder would make up the rest
    image: Voxels = getattr(_imagecodecs(encoding), IMAGES[encoding])(data)
    channels, *spatial = shape
    colours = image.shape[2] if image.ndim == 3 else 1
    if (image.dtype, colours, image.size) != (dtype.newbyteorder("="), channels, math.prod(shape)):
        raise ValueError(f"an image {image.dtype} {image.shape} in a chunk {dtype.name} {tuple(shape)}")
    return np.moveaxis(image.reshape(*spatial, channels), -1, 0)


def _labels(
    data: bytes, shape: Sequence[int], dtype: np.dtype[Any], block: Sequence[int], box: Sequence[slice]
) -> Voxels:
    """Part of a chunk in ``compressed_segmentation``: for each channel blocks of voxels that index tables of labels."""
    words = np.frombuffer(data, "<u4")
    grid = [-(-n // b) for n, b in zip(shape[1:], block, strict=True)]
    touched = [slice(part.start // b, -(-part.stop // b)) for part, b in zip(box[1:], block, strict=True)]
    sizes = [(part.stop - part.start, b) for part, b in zip(touched, block, strict=True)]
    channels = range(shape[0])[box[0]]
    out = np.empty((len(channels), *(n * b for n, b in sizes)), dtype)
    # axes: channel, block along z, y, x, voxel in it along z, y, x
    blocks = out.reshape(len(channels), *(n for pair in sizes for n in pair)).transpose(0, 1, 3, 5, 2, 4, 6)
    for number, channel in enumerate(channels):
        words_of_channel = words[words[channel] :]
        headers = words_of_channel[: 2 * math.prod(grid)].reshape(*grid, 2)[tuple(touched)]
        _fill_blocks(blocks[number], headers.reshape(-1, 2), words_of_channel)
    begins = [part.start - first.start * b for part, first, b in zip(box[1:], touched, block, strict=True)]
    return out[(slice(None), *(slice(a, a + p.stop - p.start) for a, p in zip(begins, box[1:], strict=True)))]


def _fill_blocks(blocks: Voxels, headers: Voxels, words: Voxels) -> None:
    """Fill blocks of voxels, which each have two words of a header."""
    grid, block, voxels = blocks.shape[:3], blocks.shape[3:], math.prod(blocks.shape[3:])
    first, second = headers.astype(np.int64).T
    tables, widths, values = first & 0xFFFFFF, first >> 24, second
    step = blocks.dtype.itemsize // 4
    labels = words
    if step == 2:  # a label at each word, from it and the next one
        labels = words[:-1] | words[1:].astype(np.uint64) << np.uint64(32)
    for width in np.unique(widths).tolist():
        chosen = np.flatnonzero(widths == width)
        where = np.unravel_index(chosen, grid)
        if width == 0:
            blocks[where] = labels[tables[chosen]][:, None, None, None]
            continue
        if width not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"indices of {width} bits")
        packed = words[values[chosen, None] + np.arange(-(-voxels * width // 32))]
        index = np.multiply(_unpacked(packed, width)[:, :voxels], step, dtype=np.int64)
        index += tables[chosen, None]
        blocks[where] = labels[index].reshape(-1, *block)


def _unpacked(packed: Voxels, width: int) -> Voxels:
    """Unsigned integers of some bits, of which the first are in the lowest bits of a word."""
    if width >= 8:
        return packed.view(f"<u{width // 8}")
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    parts = packed.view(np.uint8)[..., None] >> shifts & np.uint8(2**width - 1)
    return parts.reshape(len(packed), -1)
