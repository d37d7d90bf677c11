"""The server of all views of a process: local, protected by tokens, and stopped at once."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import neuroglancer
import neuroglancer.server

from ..errors import ConfigError, quoted

logger = logging.getLogger(__name__)

LOCAL = ("127.0.0.1", "localhost")


class DaemonThreads(concurrent.futures.Executor):
    """Threads that compute chunks. The program does not wait for them when it ends.

    The interpreter joins the threads of the standard library's executor when it exits, however
    long the chunk that is being computed takes.
    """

    def __init__(self, count: int) -> None:
        self._free, self._closed = threading.Semaphore(count), False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        threading.Thread(target=self._work, args=(future, fn, args, kwargs), daemon=True).start()
        return future

    def _work(self, future: concurrent.futures.Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        with self._free:
            if self._closed:
                future.cancel()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # of any type: whoever asks for the result gets it
                    future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop the calls that have not begun, and return at once even if some are running."""
        self._closed = True


def make_viewer(host: str, port: int) -> neuroglancer.Viewer:
    """A viewer on the only server of this process, which is started if it is not running.

    Raises ConfigError if host or port cannot be used.
    """
    if not isinstance(host, str) or ":" in host:
        raise ConfigError("not a host", found=quoted(host), allowed="an IPv4 address or a name")
    if neuroglancer.server.is_server_running():
        running = neuroglancer.server.global_server
        if (host, port) not in ((running._bind_address, running.port), (running._bind_address, 0)):
            raise ConfigError(
                "a view is served already, and a process has one server",
                found=f"{host}:{port}",
                allowed=f"{running._bind_address}:{running.port}, or close() that view",
            )
    else:
        try:
            _try_to_listen(host, port)
        except (OSError, OverflowError, TypeError, ValueError) as error:
            raise ConfigError(
                "cannot listen", found=f"{host}:{port}: {error}", allowed="another host or port"
            ) from None
        neuroglancer.set_server_bind_address(host, port)
    viewer = neuroglancer.Viewer(allow_credentials=False)
    running = neuroglancer.server.global_server
    if not isinstance(running.executor, DaemonThreads):
        running.executor.shutdown(wait=False)
        running.executor = DaemonThreads(max(2, os.cpu_count() or 2))
    if host not in LOCAL:
        logger.warning("%s: whoever can reach this machine and knows the address sees the data", host)
    return viewer


def _try_to_listen(host: str, port: int) -> None:
    """Raises OSError if the address cannot be used. If the server itself failed, its socket would stay open."""
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def remote_line(url: str) -> str:
    """The shell command that shows a local view on another machine. It is run there.

    >>> " ".join(remote_line("http://127.0.0.1:8080/v/0/").split()[:4])
    'ssh -N -L 8080:127.0.0.1:8080'
    """
    port = url.split("/")[2].rsplit(":", 1)[1]
    return f"ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}"


def close(viewer: neuroglancer.Viewer, last: bool) -> None:
    """Answer no more requests for a viewer, although something may still refer to it.

    With ``last`` the server stops too; chunks that are being computed are dropped.
    """
    running = neuroglancer.server.global_server
    if running is not None:
        running.viewers.pop(viewer.token, None)
        if last:
            neuroglancer.stop()
            running.executor.shutdown()
