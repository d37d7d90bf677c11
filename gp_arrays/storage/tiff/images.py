"""Images in TIFF and PNG files: the positions of the pieces of their pages, and the voxels of a box."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ...errors import StoreError
from ...model.cache import CACHE
from ...units import Quantity
from ..access.chunk_files import read_at
from ..access.files import File, needs_extra, store_errors
from ..chunked.parts import parts_of
from .metadata import channel_names, stated_lengths

Voxels = np.ndarray[Any, Any]
PNG = b"\x89PNG\r\n\x1a\n"


def _read(file: FileIO, offset: int, count: int) -> bytes:
    data = read_at(file.fileno(), offset, count)
    if len(data) != count:
        raise EOFError(f"the file ends {count - len(data)} bytes too early")
    return data


@attrs.frozen(eq=False)
class Page:
    """A page of a file.

    Attributes:
        file: The file that holds it.
        number: Its number in the file.
        offsets, counts: Where its pieces (tiles, strips) begin, and their bytes as they are stored.
        decode: Makes voxels of a piece, from its bytes and number; None where the page is plain
            voxels, one after another.
    """

    file: File
    number: int
    offsets: Sequence[int]
    counts: Sequence[int]
    decode: Callable[[bytes, int], Voxels] | None = None

    def __str__(self) -> str:
        return f"page {self.number} of {self.file.path}"

    def piece(self, file: FileIO, number: int) -> Voxels:
        """The voxels of a piece."""

        def decoded() -> Voxels:
            if not self.counts[number]:
                raise ValueError(f"piece {number} is not stored")
            assert self.decode is not None
            return self.decode(_read(file, self.offsets[number], self.counts[number]), number)

        # also in passes over blocks: one often needs a few rows of a piece whose other rows the next one needs
        return CACHE.get((self.file, self.number, number), decoded)


@attrs.frozen(eq=False)
class Image:
    """The image of a file.

    Attributes:
        axes: tifffile's letters for its axes, in small letters.
        shape: Voxels along each.
        dtype: Of the voxels, in the byte order of the file.
        page_shape: The axes of a page: separate samples, depth, rows, columns, samples of a pixel.
        piece_shape: Those of a piece.
        pages: Its pages, in order.
        lengths: Finds the voxel sizes that the file says. Raises StoreError.
        channels: Names of its channels, where it has them.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    page_shape: tuple[int, ...]
    piece_shape: tuple[int, ...]
    pages: Sequence[Page]
    lengths: Callable[[], dict[str, Quantity]] = dict
    channels: tuple[str, ...] | None = None

    @property
    def chunks(self) -> tuple[int, ...]:
        """How many voxels along each axis are read at once."""
        sizes = [p for p, n in zip(self.piece_shape, self.page_shape, strict=True) if n > 1]
        lead = sum(n > 1 for n in self.shape) - len(sizes)
        parts = iter([1] * lead + sizes)
        return tuple(next(parts) if n > 1 else 1 for n in self.shape)

    def read(self, box: Sequence[slice]) -> Voxels:
        """The voxels of a box. Raises StoreError."""
        # axes of length 1 aside, those of the pages and then those of a page are those of the image
        parts = [part for part, n in zip(box, self.shape, strict=True) if n > 1]
        page_axes = len(parts) - sum(n > 1 for n in self.page_shape)
        numbers = np.arange(len(self.pages)).reshape([n for n in self.shape if n > 1][:page_axes])[
            tuple(parts[:page_axes])
        ]
        parts_of_page = iter(parts[page_axes:])
        inner = [next(parts_of_page) if n > 1 else slice(0, 1) for n in self.page_shape]
        out = np.empty([*numbers.shape, *(part.stop - part.start for part in inner)], self.dtype.newbyteorder("="))
        for position, number in np.ndenumerate(numbers):
            page = self.pages[int(number)]
            # the codecs have errors of many types
            with store_errors(page, "cannot read", (Exception,)), page.file.open() as file:
                read = self._read_rows if page.decode is None else self._read_pieces
                read(page, file, inner, out[position])
        return out.reshape([part.stop - part.start for part in box])

    def _read_rows(self, page: Page, file: FileIO, box: Sequence[slice], out: Voxels) -> None:
        _, depth, rows, *row_shape = self.page_shape
        row = math.prod(row_shape) * self.dtype.itemsize
        for i, j in np.ndindex(out.shape[:2]):
            first = ((box[0].start + i) * depth + box[1].start + j) * rows + box[2].start
            data = _read(file, page.offsets[0] + first * row, out.shape[2] * row)
            out[i, j] = np.frombuffer(data, self.dtype).reshape(-1, *row_shape)[:, box[3], box[4]]

    def _read_pieces(self, page: Page, file: FileIO, box: Sequence[slice], out: Voxels) -> None:
        grid = [-(-n // p) for n, p in zip(self.page_shape, self.piece_shape, strict=True)]
        for part in parts_of(box, self.piece_shape):
            out[part.to] = page.piece(file, int(np.ravel_multi_index(part.position, grid)))[part.of]


def read_image(path: Path) -> Image:
    """The image of a file, whose voxels are not read yet. Raises StoreError for a damaged file or another format."""
    file = File.of(path)
    # a damaged file makes the parsers fail in many ways
    with store_errors(path, "not a TIFF or PNG file, or damaged", (Exception,)), needs_extra("tiff", path):
        with file.open() as opened:
            start = opened.read(26)
        image = _png(file, start) if start.startswith(PNG) else _tiff(file)
    for page in image.pages:
        end = max(offset + count for offset, count in zip(page.offsets, page.counts, strict=True))
        if end > page.file.size:
            raise StoreError("the file is truncated", f"{page} ends at byte {end:,} of {page.file.size:,}")
    return image


def _png(file: File, start: bytes) -> Image:
    from PIL.PngImagePlugin import PngImageFile  # Image.open refuses large slices

    with PngImageFile(file.path) as image:
        (width, height), mode, samples = image.size, image.mode, len(image.getbands())
    bits, is_palette = start[24], start[25] == 3
    # pillow reduces colours of 16 bits to 8, and scales grey values of 2 and 4 bits
    if not is_palette and (bits in (2, 4) or (bits == 16 and samples > 1)):
        raise StoreError(
            "PNG files of this kind are not read",
            f"{file.path}: {mode}, {bits} bits",
            "grey of 1, 8 or 16, colour of 8",
        )
    dtype = np.dtype("bool" if mode == "1" else "uint16" if bits == 16 else "uint8")
    shape = (1, 1, height, width, samples)

    def decode(data: bytes, number: int) -> Voxels:
        with file.open() as opened, PngImageFile(opened) as image:
            return np.asarray(image).astype(dtype).reshape(shape)

    axes = ("y", "x", "s") if samples > 1 else ("y", "x")
    return Image(axes, shape[2 : 2 + len(axes)], dtype, shape, shape, [Page(file, 0, (0,), (file.size,), decode)])


def _tiff(file: File) -> Image:
    import tifffile

    # tifffile logs damage, and goes on with the pages that it can read
    complaints: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = complaints.append  # type: ignore[assignment,method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        with tifffile.TiffFile(file.path) as opened:
            ome, channels = opened.ome_metadata, None
            try:
                channels = channel_names(ome or "<OME/>")
            except StoreError:
                opened.is_ome = False  # an error is raised when its voxel sizes are needed
            series = [each for each in opened.series if not each.keyframe.is_reduced] or opened.series
            pages = _pages(file, series[0])
            imagej, order = opened.imagej_metadata, opened.byteorder
    finally:
        logger.removeHandler(handler)
    for record in complaints:
        if record.thread == threading.get_ident():
            raise StoreError("damaged", found=f"{file.path}: {record.getMessage()}")
    first = series[0].keyframe
    if len(series) > 1:
        other = series[1].keyframe
        raise StoreError(
            "several images in one file",
            found=f"page {first.index} of {file.path}: {first.dtype} {first.shape}, "
            f"page {other.index}: {other.dtype} {other.shape}",
            allowed="pages that are alike",
        )
    shape, axes = tuple(first.shaped), series[0].axes
    rows = (1, min(first.rowsperstrip, shape[2]), shape[3])
    piece = (1, *((first.tiledepth, first.tilelength, first.tilewidth) if first.is_tiled else rows), shape[4])
    return Image(
        tuple(axes.lower()),
        tuple(series[0].shape),
        first.dtype.newbyteorder(order),
        shape,
        piece,
        pages,
        lambda: stated_lengths(first.tags, ome, imagej, axes),
        channels,
    )


def _pages(file: File, series: Any) -> list[Page]:
    import tifffile

    first = series.keyframe
    if first.dtype is None or first.dtype.kind not in "buif" or first.dtype.itemsize > 8:
        found = f"{file.path}: {first.dtype or f'{first.bitspersample} bits'}"
        raise StoreError("voxels of this dtype are not read", found, "bool, integers, floats, to 64 bits")
    codecs = (tifffile.TIFF.DECOMPRESSORS, first.compression), (tifffile.TIFF.UNPREDICTORS, first.predictor)
    for decoders, code in codecs:
        try:
            decoders[code]
        except KeyError:
            found = f"{getattr(code, 'name', code)} in {file.path}"
            raise StoreError(
                "cannot decode", found, "pip install 'gp_arrays[tiff]', which brings imagecodecs"
            ) from None
    expected = math.prod(series.shape) // math.prod(first.shaped)
    size = math.prod(first.shaped) * first.dtype.itemsize
    if series.dataoffset is not None:
        return [Page(file, i, (series.dataoffset + i * size,), (size,)) for i in range(expected)]
    stored = [page for page in series if page is not None]
    if len(stored) != expected:
        raise StoreError("pages are missing", f"{len(stored)} of {expected} in {file.path}")
    files = {path: File.of(path) for path in {Path(page.parent.filehandle.path) for page in stored}}
    pages = []
    for page in stored:
        offsets, counts, decode = tuple(page.dataoffsets), tuple(page.databytecounts), None
        if first.is_final and all(a + n == b for a, n, b in zip(offsets, counts, offsets[1:], strict=False)):
            offsets, counts = offsets[:1], (size,)
        else:
            tables = {"jpegtables": page.jpegtables, "jpegheader": first.jpegheader}
            decode = _decoder(first.decode, {name: table for name, table in tables.items() if table})
        pages.append(Page(files[Path(page.parent.filehandle.path)], page.index, offsets, counts, decode))
    return pages


def _decoder(decode: Any, options: dict[str, Any]) -> Callable[[bytes, int], Voxels]:
    # one axis more than tifffile says: pages whose samples are stored apart
    return lambda data, number: np.asarray(decode(data, number, **options)[0])[None]
