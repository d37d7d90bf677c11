"""What a user can choose: workers and their limits, blocks and chunks of outputs, how they are stored."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..errors import ConfigError
from ..storage.chunked.create import require_encoding
from .geometry import MEMORY


@attrs.frozen
class Workers:
    """What the workers of a run are allowed.

    Attributes:
        retries: How often a failed block is tried again.
        timeout: Seconds after which a block counts as stuck and its worker is ended; None for never.
        max_failed: The run ends after this many failures with no block done between them.
        threads: How many threads the libraries of a worker may use, torch among them. The voxels of a network may
            differ in their last digits with another number.
    """

    retries: int = 2
    timeout: float | None = 600
    max_failed: int = 20
    threads: int = 1

    def __attrs_post_init__(self) -> None:
        counts = self.retries >= 0 and self.max_failed >= 1 and self.threads >= 1
        if not counts or (self.timeout is not None and not self.timeout > 0):
            raise ConfigError(
                "the limits of workers are out of range",
                found=", ".join(f"{name}={value}" for name, value in attrs.asdict(self).items()),
                allowed="no negative retries, a timeout above 0 or None, max_failed and threads of at least 1",
            )


@attrs.frozen
class Crew:
    """How many workers there are, and how they are started.

    Attributes:
        count: How many at once.
        command: What starts one elsewhere, with ``{worker}`` for the worker's own command, and ``{slot}`` for its
            number among the running ones, from 0.
        host: The address that workers elsewhere reach this machine by.
        limits: What they are allowed.
    """

    count: int = 2
    command: str | None = None
    host: str | None = None
    limits: Workers = attrs.field(factory=Workers)

    def __attrs_post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError("a job needs workers", found=f"num_workers={self.count}", allowed="at least one")
        if self.command is not None:
            if "{worker}" not in self.command:
                raise ConfigError(
                    "the command starts no worker",
                    found=repr(self.command),
                    allowed='{worker} in it, as in "srun -c 2 {worker}"',
                )
            try:
                shlex.split(self.command)
            except ValueError as error:
                raise ConfigError("no shell takes the worker command", found=f"{self.command!r}: {error}") from None
        if self.host:
            _require_host(self.host)

    @property
    def is_usual(self) -> bool:
        """True if the user asks for nothing that only workers in processes of their own can do, such as a timeout."""
        return self == Crew(self.count)

    @property
    def patience(self) -> int:
        """How many workers may die before a scheduler is given up."""
        return 5 + 2 * self.count


def _require_host(host: str) -> None:
    """Raises ConfigError if the host is not an address of this machine: nothing could listen there."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.bind(address)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the host is no address of this machine",
            found=f"{host!r}: {error}",
            allowed="the address that workers reach this machine by",
        ) from None


@attrs.frozen
class Storage:
    """How outputs are stored.

    Attributes:
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        shards: In voxels: complete chunks that are stored in one file; one shape, or one for each dataset. Zarr v3 only.
    """

    compressor: str = "zstd"
    zarr_format: int = 2
    shards: Any = None

    def __attrs_post_init__(self) -> None:
        require_encoding(self.compressor, self.zarr_format)


@attrs.frozen
class Layout:
    """The blocks, chunks and storage of outputs as the user asks for them; None for the default.

    Attributes:
        chunks: In voxels; one shape, or one for each dataset.
        block: In world units.
        memory: What a worker may hold, in bytes.
        pyramid: ``"auto"``, a method, or a method for each dataset that becomes a pyramid.
        skip_empty: True if chunks that hold only the fill value are not written.
        storage: How outputs are stored.
    """

    chunks: Any = None
    block: Sequence[int] | None = None
    memory: int = MEMORY
    pyramid: str | Mapping[str, str] | None = None
    skip_empty: bool = False
    storage: Storage = attrs.field(factory=Storage)
