"""Whether the chunks of an array carry checksums, so that a flipped bit is an error and not another voxel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..access.chunk_files import read_file
from ..access.remote import StorePath, is_listable
from ..access.zip_files import ZipPath
from ..metadata.documents import ChunkedNode
from ..metadata.keys import N5
from .listing import list_some_chunks

#: Codecs whose output ends in a checksum.
WITH_CHECKSUM = frozenset(
    ["adler32", "bz2", "crc32", "crc32c", "fletcher32", "gzip", "jenkins_lookup3", "lzma", "zlib"]
)

#: How a frame in zstd begins.
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def have_checksums(root: StorePath, node: ChunkedNode) -> bool:
    """True if the metadata say that chunks carry a checksum, or (zstd in Zarr v2 and N5) the first chunk has one."""
    if isinstance(root, ZipPath) and node.shards == node.chunks:
        return True  # of a shard parts are read, for which a zip file has no checksums
    codecs = dict(_codecs(node.document))
    if any(name.removeprefix("numcodecs.") in WITH_CHECKSUM for name in codecs):
        return True
    if "zstd" not in codecs:
        return False
    return bool(codecs["zstd"].get("checksum")) if node.format == 3 else _in_first_frame(root, node)


def codec_text(node: ChunkedNode) -> str:
    """The codecs that compress the chunks of an array, or check them: ``"shuffle, zlib"``, ``"none"``."""
    names = [
        f"{name} ({options['cname']})" if "cname" in options else name.removeprefix("numcodecs.")
        for name, options in _codecs(node.document)
        if name not in ("bytes", "transpose")
    ]
    return ", ".join(dict.fromkeys(names)) or "none"


def _codecs(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and options of all codecs of an array, those within shards too."""
    for codec in (*(document.get("filters") or ()), document.get("compressor")):
        if isinstance(codec, Mapping):
            yield str(codec.get("id")), codec
    for codec in document.get("codecs") or ():
        options = codec.get("configuration") or {}
        if codec.get("name") == "sharding_indexed":
            yield from _codecs(options)
        else:
            yield str(codec.get("name")), options


def _in_first_frame(root: StorePath, node: ChunkedNode) -> bool:
    """True if a chunk in zstd has a checksum: a bit in the header of a frame says so (RFC 8878, 3.1.1.1)."""
    indices = list_some_chunks(root, node, 1)
    if not is_listable(root):
        indices = iter([(0,) * node.keys.ndim])
    # in N5 a header stands in front of the frame, which has 9 bytes at least
    most = 13 + 4 * node.keys.ndim if node.format == N5 else 5
    for index in indices:
        data = read_file(root / node.path / node.keys.key(index), 0, most) or b""
        frame = data[data.find(ZSTD_MAGIC) :]
        return len(frame) > 4 and bool(frame[4] & 0b100)
    return True  # there is nothing that could be damaged
