"""Functions and files that a config names: found, and told apart by their content."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, StoreError, TreeError, quoted


def is_reference(model: str) -> bool:
    """True if the text is ``module:function``, not the path of a file.

    >>> is_reference("package.module:load"), is_reference("weights/model.pt")
    (True, False)
    """
    module, separator, name = model.partition(":")
    return bool(separator) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def to_reference(value: Any) -> str:
    """attrs converter: where a function is, as ``module:name``.

    >>> from gunpowder import Normalize
    >>> to_reference(Normalize)
    'gunpowder.nodes.normalize:Normalize'
    """
    if callable(value):
        value = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if not isinstance(value, str) or not is_reference(value):
        raise ConfigError(
            "not a function that workers can import",
            found=quoted(value),
            allowed="a function of a module, or 'module:name'",
        )
    return value


def to_arguments(value: Any) -> dict[str, Any]:
    """attrs converter: arguments of a function, plain values by name."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError("not arguments by name", found=quoted(value))
    return dict(value)


def import_function(reference: str) -> Callable[..., Any]:
    """The function at ``module:function``. Raises TreeError."""
    module, _, name = reference.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise TreeError("no such function", found=f"{reference}: {error}", allowed="module:function") from None
    result: Callable[..., Any] = function
    return result


def file_hash(path: Path, what: str) -> str:
    """The SHA-256 of a file. Raises StoreError, whose problem names ``what``."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read the {what}", found=f"{path}: {error.strerror or error}") from None


def source_hash(reference: str) -> str:
    """The SHA-256 of the file that defines the function at ``module:function``."""
    function = inspect.unwrap(import_function(reference))
    path = inspect.getsourcefile(function) if callable(function) else None
    if path is None:
        raise TreeError("the function has no source file", found=reference, allowed="a function of a Python module")
    return file_hash(Path(path), "source of the function")
