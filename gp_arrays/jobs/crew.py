"""The workers of a job: how many, how they are started, and what they are allowed."""

from __future__ import annotations

import logging
import shlex
import socket

import attrs

from ..errors import ConfigError

logger = logging.getLogger(__name__)


@attrs.frozen
class Workers:
    """What the workers of a run are allowed.

    Attributes:
        retries: How often a failed block is tried again.
        timeout: Seconds after which a block counts as stuck and its worker is ended; None for never.
        max_failed: So many failures with no block done between them end the run.
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
            number among those at work, from 0.
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
            _require_host(self.host, self.command is None)

    @property
    def patience(self) -> int:
        """How many workers may die before a scheduler is given up."""
        return 5 + 2 * self.count


def _require_host(host: str, here: bool) -> None:
    """Raises ConfigError for an unknown host, or where workers are ``here`` and it is no address of this machine."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the host is not known",
            found=f"{host!r}: {error}",
            allowed="the address that workers reach this machine by",
        ) from None
    refused: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.bind(address)
                return
        except OSError as error:
            refused = error
    if here:
        raise ConfigError(
            "the host is not this machine",
            found=f"{host!r}: {refused}",
            allowed="the address that workers reach this machine by",
        )
    # it may be translated on the way
    logger.warning("host %r is no address of this machine; workers elsewhere are told it", host)
