"""Networks: a torch module is loaded once in a process and run on batches of tiles."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, StoreError, TreeError
from ..model.meta import Voxels
from ..storage.access.files import store_errors
from .functions import code_hashes, file_hash, import_function

#: Keys under which training programs put a model's weights beside other things.
WEIGHT_KEYS = ("model_state_dict", "state_dict", "model")


def require_torch() -> Any:
    """The torch module. Raises TreeError that says how to install it."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise TreeError("torch is not installed", allowed="pip install 'gp_arrays[torch]'") from None


@attrs.frozen
class NetworkFiles:
    """Where a network comes from, and the device that it runs on.

    Attributes:
        model: ``module:function``, a function that returns a ``torch.nn.Module``; or the path of a TorchScript
            file, or of a ``torch.export`` file (``.pt2``).
        checkpoint: A file of weights, or None.
        arguments: Of the function.
        device: ``"auto"`` (a GPU where there is one), or as torch names it.
    """

    model: str | Path
    checkpoint: Path | None
    arguments: Mapping[str, Any]
    device: str

    def fingerprints(self) -> dict[str, str]:
        """Hashes of the files that decide what the network computes."""
        if isinstance(self.model, str):
            hashes = code_hashes(self.model, self.arguments)
        else:
            hashes = {f"model {self.model}": file_hash(self.model, "model")}
        if self.checkpoint is not None:
            hashes[f"checkpoint {self.checkpoint}"] = file_hash(self.checkpoint, "checkpoint")
        return hashes

    def state(self) -> tuple[Any, ...]:
        """What changes when a file of the network does, told by its size and time. Raises StoreError."""
        stats = []
        for path in (self.model, self.checkpoint):
            if isinstance(path, Path):
                with store_errors(path, "cannot read the network"):
                    stat = path.stat()
                stats.append((str(path), stat.st_size, stat.st_mtime_ns))
        return str(self.model), repr(sorted(self.arguments.items())), self.device, tuple(stats)

    def load(self) -> Network:
        """The network, loaded when first asked for in this process. Raises StoreError, TreeError, ComputeError."""
        key = self.state()
        with _LOADING:
            if key not in _NETWORKS:
                _NETWORKS[key] = Network(self)
            return _NETWORKS[key]


class Network:
    """A loaded network. One thread at a time runs it."""

    def __init__(self, files: NetworkFiles) -> None:
        self.torch = torch = require_torch()
        name = files.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(name)
            torch.zeros(1, device=self.device)
        except (AssertionError, RuntimeError) as error:
            raise TreeError(
                "torch cannot use the device here",
                found=f"device {name!r}: {' '.join(str(error).split())}",
                allowed="'auto', 'cpu', or a GPU of this machine such as 'cuda:0'",
            ) from None
        try:
            self.module = self._load(files)
        except (StoreError, TreeError):
            raise
        except Exception as error:
            # whatever a model's own code or torch raises on a file that it cannot use
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
            source = files.model if files.checkpoint is None else f"{files.model} with {files.checkpoint}"
            raise StoreError("the network cannot be loaded", found=f"{source}: {problem}") from error
        self.lock = threading.Lock()

    def _load(self, files: NetworkFiles) -> Any:
        torch = self.torch
        if isinstance(files.model, str):
            module = import_function(files.model)(**files.arguments)
            if not isinstance(module, torch.nn.Module):
                raise TreeError(
                    "the function returns no network", found=type(module).__name__, allowed="a torch.nn.Module"
                )
        elif files.model.suffix == ".pt2":
            module = torch.export.load(files.model).module()
        else:
            with warnings.catch_warnings():
                # torch warns of its own format; people have files of it all the same
                warnings.simplefilter("ignore", DeprecationWarning)
                module = torch.jit.load(files.model, map_location=self.device)
        if files.checkpoint is not None:
            weights = torch.load(files.checkpoint, map_location=self.device, weights_only=True)
            key = next((key for key in WEIGHT_KEYS if isinstance(weights, Mapping) and key in weights), None)
            module.load_state_dict(weights if key is None else weights[key])
        module = module.to(self.device)
        if not (isinstance(files.model, Path) and files.model.suffix == ".pt2"):
            module.eval()  # an exported program has no training mode
        return module

    def run(self, batch: Voxels, autocast: str | None) -> Voxels:
        """The network's result for a float32 batch, as float32. Raises ComputeError."""
        try:
            return self._run(batch, autocast)
        except ComputeError:
            raise
        except Exception as error:
            # a network's own code may raise anything
            raise ComputeError(
                f"the network failed on a batch of shape {batch.shape}",
                found=f"{type(error).__name__}: {' '.join(str(error).split())}",
                allowed="a tile that with its context on both sides is of a size that the network takes",
            ) from error

    def _run(self, batch: Voxels, autocast: str | None) -> Voxels:
        torch = self.torch
        with torch.inference_mode(), _as_many_threads(torch):
            inputs = torch.from_numpy(batch).to(self.device)
            if autocast is None:
                result = self.module(inputs)
            else:
                with torch.autocast(self.device.type, dtype=getattr(torch, autocast)):
                    result = self.module(inputs)
            if not isinstance(result, torch.Tensor):
                raise ComputeError(
                    "the network's result is not one tensor",
                    found=type(result).__name__,
                    allowed="a model function that wraps it so that forward returns one tensor",
                )
            voxels: Voxels = result.float().cpu().numpy()
        return voxels


def scaled(voxels: Voxels, scale: float | None, dtype: np.dtype[Any]) -> Voxels:
    """``voxels`` times ``scale`` in ``dtype``, clipped to what it holds; integers are rounded to even.

    >>> scaled(np.array([-1, 0.5, 2], np.float32), 255, np.dtype("uint8"))
    array([  0, 128, 255], dtype=uint8)
    """
    if scale is not None:
        voxels = voxels.astype(np.float64) * scale
    if dtype.kind == "f":
        most = np.finfo(dtype).max
        # infinity stays what it is, a number does not become it
        return np.where(np.isinf(voxels), voxels, np.clip(voxels, -most, most)).astype(dtype, copy=False)
    if not np.isfinite(voxels).all():
        raise ComputeError("the network's result is not finite", allowed=f"numbers, as {dtype} holds no NaN")
    limits = np.iinfo(dtype)
    rounded = np.rint(voxels.astype(np.float64))
    # float64 does not hold 2**64 - 1: values that reach the limit are set to it as integers
    result = np.clip(rounded, float(limits.min), np.nextafter(float(limits.max), 0)).astype(dtype)
    result[rounded >= float(limits.max)] = limits.max
    return result


@contextlib.contextmanager
def threads_of_torch(count: int | None) -> Iterator[None]:
    """Run networks with so many threads of torch meanwhile, as their rounding depends on it; None for torch's own."""
    global _threads
    before, _threads = _threads, count
    try:
        yield
    finally:
        _threads = before


@contextlib.contextmanager
def _as_many_threads(torch: Any) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_threads: int | None = None
_LOADING = threading.RLock()
_NETWORKS: dict[tuple[Any, ...], Network] = {}


def _after_fork() -> None:
    """Begin anew in a forked process: it has neither the threads nor the locks of its parent."""
    global _LOADING
    _LOADING = threading.RLock()
    _NETWORKS.clear()
    torch = sys.modules.get("torch")
    if torch is not None:
        # its threads stayed with the parent: with more than one it would wait for them forever
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_after_fork)
