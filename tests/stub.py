"""Writes ``gp_arrays/__init__.pyi``, which tells type checkers and editors the names of the package.

``python tests/stub.py`` writes it anew; a test tells when that is needed.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import gunpowder as gp

import gp_arrays as gpa

STUB = Path(gpa.__file__).with_suffix(".pyi")
HEADER = '''"""Written by ``python tests/stub.py``."""

from collections.abc import Mapping, Sequence
from typing import Any

import gunpowder as gp
'''
#: Names that annotations in the stub may use.
KNOWN = {"Any", "Mapping", "Sequence", "None", "bool", "dict", "float", "gp", "ArrayKey", "int", "list", "str", "tuple"}


def annotation(parameter: inspect.Parameter) -> str:
    text = str(parameter.annotation)
    return text if set(re.findall(r"[A-Za-z_]\w*", text)) <= KNOWN else "Any"


def node_class(name: str) -> str:
    node = getattr(gpa, name)
    base = "BatchFilter" if issubclass(node, gp.BatchFilter) else "BatchProvider"
    lines = [f"class {name}(gp.{base}):  # type: ignore[misc]", f'    """{node.__doc__.splitlines()[0]}"""', ""]
    lines += ["    def __init__(", "        self,"]
    keyword_only = False
    for parameter in inspect.signature(node).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("        *,")
        value = parameter.default
        literal = value is None or isinstance(value, (bool, int, float, tuple, dict))
        text = json.dumps(value) if isinstance(value, str) else repr(value) if literal else "..."
        default = "" if value is parameter.empty else f" = {text}"
        lines.append(f"        {parameter.name}: {annotation(parameter)}{default},")
    return "\n".join([*lines, "    ) -> None: ..."])


def stub_text() -> str:
    """The text that the stub should have."""
    imports = sorted((module, name) for name, module in gpa._MODULES.items())
    foreign = [f"from {module} import {name} as {name}" for module, name in imports if not module.startswith(".")]
    own = [f"from {module} import {name} as {name}" for module, name in imports if module.startswith(".")]
    classes = [node_class(name) for name in sorted(gpa._CONFIGS)]
    names = ["__all__ = [", *(f'    "{name}",' for name in gpa.__all__), "]"]
    blocks = [HEADER + "\n".join(foreign), "\n".join([*own, "", "ARRAY_TYPES: tuple[str, ...]"]), *classes]
    return "\n\n".join([*blocks, "\n".join(names)]) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub_text(), encoding="utf-8")
