"""Functions and files that a config names, and hashes of their content."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, TreeError, quoted
from ..storage.access.files import store_errors


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
    with store_errors(path, f"cannot read the {what}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hashes(reference: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that decide what the function at ``module:function`` does, by what they are.

    These are the file that defines it, the modules that this one imports from the same folder of modules, and files
    that arguments name. Raises StoreError, TreeError.
    """
    function = inspect.unwrap(import_function(reference))
    file = inspect.getsourcefile(function) if callable(function) else None
    if file is None:
        raise TreeError("the function has no source file", found=reference, allowed="a function of a Python module")
    hashes = {f"function {reference}": file_hash(Path(file), "source of the function")}
    for name, path in _imported(function.__module__, Path(file)).items():
        hashes[f"module {name}"] = file_hash(path, "module of the function")
    for name, value in arguments.items():
        if isinstance(value, (str, Path)) and "\0" not in str(value) and Path(value).is_file():
            hashes[f"argument {name}"] = file_hash(Path(value), f"file of the argument {name}")
    return hashes


def _imported(module: str, file: Path) -> dict[str, Path]:
    """The modules that a module imports, and those that these import, where they lie in the same folder of modules.

    Installed packages are left out: their files change with their versions alone.
    """
    is_package = file.stem == "__init__"
    folder = file.parents[module.count(".") + is_package]
    if folder in {Path(path) for path in sysconfig.get_paths().values()}:
        return {}
    files: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for imported in _names_of_imports(path, package):
            parts = imported.split(".")
            for end in range(1, len(parts) + 1):
                name_so_far, path_so_far = ".".join(parts[:end]), folder.joinpath(*parts[:end])
                candidates = path_so_far.with_suffix(".py"), path_so_far / "__init__.py"
                source = next((path for path in candidates if path.is_file()), None)
                if (
                    source is not None
                    and name_so_far not in (*files, module)
                    and parts[0] != __name__.partition(".")[0]
                ):
                    files[name_so_far] = source
                    waiting.append((name_so_far, source))
    return files


def _names_of_imports(path: Path, package: str) -> list[str]:
    """What a file imports, absolutely named; names in modules are told as if they were modules too."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names += [f"{base}.{alias.name}".strip(".") for alias in node.names]
    return names
