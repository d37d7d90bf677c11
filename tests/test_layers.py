"""Imports go in one direction: a module imports only from the layers before its own."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gp_arrays"

#: Modules and packages, layer by layer; those of one layer do not import each other.
LAYERS = [
    ["errors", "py.typed"],
    ["units"],
    ["model"],
    ["storage"],
    ["sources"],
    ["transforms"],
    ["trees"],
    ["train"],
    ["jobs", "viewer"],
    ["extension"],
    ["testing"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: The folders that the rest of storage imports, layer by layer.
STORAGE = ["storage.access", "storage.metadata", "storage.chunked"]

#: Imports from later layers, in methods that every config or array has.
UPWARD = {
    "model.base": {"trees.document", "trees.tree"},
    "model.array": {"sources.numpy_", "viewer.layers"},
    "model.registry": {"__init__"},
}

#: Packages that not every user needs, and the only folders that may import them.
ONLY_IN = {
    "pytest": {"testing"},
    "hypothesis": {"testing"},
    "neuroglancer": {"viewer"},
    "daisy": {"jobs"},
    "click": {"cli"},
    "zarr": {"storage", "testing"},
    "numcodecs": {"storage"},
    "requests": {"storage"},
    "urllib3": {"storage"},
    "tifffile": {"storage"},
    "h5py": {"storage"},
    "fsspec": {"storage"},
    "aiohttp": {"storage"},
}

MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports(name: str) -> list[tuple[str, bool]]:
    """What a module imports, with absolute names, and True if it does so at once, not in a function."""
    return list(read_imports(name))


def read_imports(name: str) -> Iterator[tuple[str, bool]]:
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    folder = ["gp_arrays", *name.split(".")[:-1]]
    for node in ast.walk(tree):
        now = id(node) not in later
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", now) for alias in node.names)


def own(module: str) -> str | None:
    """The module of this package that a dotted name lies in, or None."""
    if module.split(".")[0] != "gp_arrays":
        return None
    parts = module.split(".")[1:]
    while True:
        name = ".".join(parts)
        if name in MODULES:
            return name
        if ".".join([*parts, "__init__"]) in MODULES:
            return ".".join([*parts, "__init__"])
        parts.pop()


@functools.cache
def inside(name: str, at_once: bool = False) -> set[str]:
    """The modules of this package that a module imports; without imports in functions if ``at_once``."""
    return {
        module_name
        for module, now in imports(name)
        if (now or not at_once) and (module_name := own(module)) is not None
    }


def top(name: str) -> str:
    return name.split(".")[0]


def test_every_module_has_a_layer() -> None:
    assert sorted({top(name) for name in MODULES} - set(RANK)) == []
    assert sorted(set(RANK) - {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()}) == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_layers_before_it(name: str) -> None:
    allowed = UPWARD.get(name, set()) - inside(name, at_once=True)
    wrong = {
        other for other in inside(name) - allowed if top(other) != top(name) and RANK[top(other)] >= RANK[top(name)]
    }
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_the_folders_of_storage_build_on_each_other() -> None:
    def folder(name: str) -> str:
        return ".".join(name.split(".")[:2])

    rank = {name: number for number, name in enumerate(STORAGE)}
    parts = [name for name in MODULES if folder(name) in rank]
    assert {folder(name) for name in parts} == set(STORAGE)
    wrong = [
        f"{name} imports {other}"
        for name in parts
        for other in inside(name)
        if top(other) == "storage" and rank.get(folder(other), len(STORAGE)) > rank[folder(name)]
    ]
    assert wrong == []


def test_no_circular_imports() -> None:
    graph = {name: inside(name, at_once=True) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def test_third_party_packages_stay_where_they_belong() -> None:
    wrong = [
        f"{name} imports {module}"
        for name in MODULES
        for module, _ in imports(name)
        if module.split(".")[0] in ONLY_IN and top(name) not in ONLY_IN[module.split(".")[0]]
    ]
    assert wrong == []


def test_the_imports_that_exist_are_seen() -> None:
    """The other tests see imports: these exist."""
    assert {"errors", "model.meta", "model.base", "transforms.constant"} <= inside("transforms.sum")
    assert "numpy" in {module for module, _ in imports("transforms.sum")}
    assert inside("cli.demo") >= {"jobs.run", "model.array", "trees.tree"}
    assert ("transforms.constant" in inside("transforms.like"), "model.base" in inside("model.meta")) == (True, False)


HEAVY = {
    "gunpowder",
    "daisy",
    "neuroglancer",
    "dask",
    "xarray",
    "pandas",
    "scipy",
    "zarr",
    "numcodecs",
    "tornado",
    "pytest",
}


def loaded_after(code: str) -> set[str]:
    """The packages that a fresh process has loaded after running some code."""
    code += "\nimport sys, json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_no_heavy_packages() -> None:
    loaded = loaded_after("import gp_arrays")
    assert "gp_arrays" in loaded
    assert sorted(loaded & (HEAVY | {"numpy", "yaml", "click"})) == []


def test_arrays_are_read_without_gunpowder(tmp_path: Path) -> None:
    """Trees, arrays and the command line do not load the packages of training, writing and viewing."""
    tree = tmp_path / "tree.toml"
    tree.write_text(
        '[zeros]\n__type__ = "DummyArrayConfig"\n[ones]\n__type__ = "OnesArrayConfig"\nsource_array_config = "zeros"\n'
    )
    code = f"import gp_arrays as gpa; print(gpa.load_tree({str(tree)!r})['ones'].array()[:1].sum())"
    assert sorted(loaded_after(code) & HEAVY) == []
    code = f"from gp_arrays.cli import run; assert run(['info', {str(tree)!r}]) == 0"
    assert sorted(loaded_after(code) & HEAVY) == []
