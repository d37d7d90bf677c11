"""Versions of a DVID repository: their names, and their full UUIDs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from ...errors import StoreError
from .http import get_json

_REF = re.compile(r"([0-9a-fA-F]*)(?::([^:~/]*)(?:~([0-9]{1,9}))?)?")


@attrs.frozen
class Ref:
    """A version by its name: ``3f8c``, ``3f8c:main``, ``:main~2``. A full UUID has 32 digits."""

    prefix: str
    branch: str | None = None
    back: int = 0

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Raises ValueError for what names no version.

        >>> Ref.parse("3F8C:main~2"), Ref.parse("abc:")
        (Ref(prefix='3f8c', branch='main', back=2), Ref(prefix='abc', branch=None, back=0))
        """
        match = _REF.fullmatch(text)
        if match is None or len(match[1]) > 32 or not text:
            raise ValueError(f"{text!r} names no version")
        prefix, branch, back = match[1].lower(), match[2], int(match[3] or 0)
        if not branch and (back or not prefix):
            branch = "master"
        return cls(prefix, branch or None, back)

    def __str__(self) -> str:
        branch = "" if self.branch is None else f":{self.branch}"
        return f"{self.prefix}{branch}{f'~{self.back}' if self.back else ''}"


def resolve(server: str, ref: Ref) -> str:
    """The full UUID of a version. Branches grow, so the caller should resolve one once and keep the result."""
    if ref.branch is None and len(ref.prefix) == 32:
        return ref.prefix
    branch = ref.branch or "master"
    repo = quoted(ref.prefix or f":{branch}")
    try:
        uuids = get_json(f"{server}/api/repo/{repo}/branch-versions/{quoted(branch)}")
    except StoreError:
        if ref.branch is not None:
            raise
        uuids = []  # the repository may have no branch of that name: the prefix is looked up below
    require(isinstance(uuids, list) and all(isinstance(uuid, str) for uuid in uuids), uuids, "a list of versions")
    if ref.branch is not None:
        if ref.back >= len(uuids):
            raise StoreError(
                "the branch has no such version", found=f"{ref} on {server}", allowed=f"~0 to ~{len(uuids) - 1}"
            )
        return str(uuids[ref.back])
    matching = [uuid for uuid in uuids if uuid.startswith(ref.prefix)]
    if not matching:
        # it is on another branch: the list of all versions is long, so it is requested last
        nodes = entry(entry(get_json(f"{server}/api/repo/{repo}/info"), "DAG"), "Nodes")
        require(isinstance(nodes, Mapping), nodes, "a table of versions")
        matching = [uuid for uuid in nodes if uuid.startswith(ref.prefix)]
    if len(matching) != 1:
        raise StoreError("the prefix does not name one version", found=f"{ref} on {server}: {len(matching)}")
    return str(matching[0])


def is_locked(server: str, uuid: str) -> bool:
    """True if the server says that nothing can be written to a version any more, which is for ever."""
    try:
        status = get_json(f"{server}/api/node/{quoted(uuid)}/status")
    except StoreError:
        return False  # it may change, so nothing of it is kept
    return isinstance(status, Mapping) and status.get("Locked") is True


def quoted(text: str) -> str:
    """A part of a URL's path."""
    return quote(text, safe=":~")


def require(good: bool, value: Any, allowed: str) -> None:
    """Raises StoreError unless what the server sent is what is allowed."""
    if not good:
        raise StoreError("cannot understand the DVID server", found=f"{str(value)[:200]!r}", allowed=allowed)


def entry(document: Any, key: str) -> Any:
    """An entry of a document that the server sent. Raises StoreError where it is missing."""
    require(isinstance(document, Mapping) and document.get(key) is not None, document, f"a document with {key}")
    return document[key]
