"""The options of a job: workers and their limits, blocks and chunks of outputs, how outputs are stored."""

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
    """The limits of the workers of a run.

    Attributes:
        retries: How often a failed block is tried again.
        timeout: Seconds after which a block counts as stuck and its worker is ended; None for never.
        max_failed: The run ends after this many failures with no block done between them.
        threads: How many threads the libraries of a worker may use (torch is one of them). With another number the
            voxels of a network may differ in their last digits.
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
        count: The most workers that run at the same time.
        command: The shell command that starts a worker. ``{worker}`` in it stands for the command of the worker itself,
            ``{slot}`` for its number among the running workers, from 0.
        host: The address at which workers on other machines reach this one.
        limits: The limits of the workers.
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
                    "the worker command does not start a worker",
                    found=repr(self.command),
                    allowed='{worker} in it, as in "srun -c 2 {worker}"',
                )
            try:
                shlex.split(self.command)
            except ValueError as error:
                raise ConfigError(
                    "a shell cannot read the worker command", found=f"{self.command!r}: {error}"
                ) from None
        if self.host:
            _require_host(self.host)

    @property
    def is_usual(self) -> bool:
        """True if no option needs worker processes, as a timeout does, for example."""
        return self == Crew(self.count)

    @property
    def patience(self) -> int:
        """How many workers may die before daisy gives up a task."""
        return 5 + 2 * self.count


def _require_host(host: str) -> None:
    """Raises ConfigError if the host is not an address of this machine: no socket could listen there."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.bind(address)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the host is not an address of this machine",
            found=f"{host!r}: {error}",
            allowed="the address at which workers reach this machine",
        ) from None


@attrs.frozen
class Storage:
    """How outputs are stored.

    Attributes:
        compressor: ``"zstd"``, ``"blosc"``, ``"gzip"`` or ``"none"``.
        zarr_format: 2, or 3 where the installed zarr has it.
        shards: In voxels; one shape, or one for each dataset. The chunks of a shard are stored in one file. Zarr v3 only.
    """

    compressor: str = "zstd"
    zarr_format: int = 2
    shards: Any = None

    def __attrs_post_init__(self) -> None:
        require_encoding(self.compressor, self.zarr_format)


@attrs.frozen
class Layout:
    """The blocks, chunks and storage that the user asks for; None stands for the default.

    Attributes:
        chunks: In voxels; one shape, or one for each dataset.
        block: In world units.
        memory: How many bytes a worker may use.
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
