"""The type stub, which type checkers and editors read, agrees with the package."""

import ast
import inspect

import pytest
from stub import STUB, stub_text

import gp_arrays as gpa

NODES = sorted(gpa._CONFIGS)


def test_the_stub_is_as_its_script_writes_it():
    assert STUB.read_text(encoding="utf-8") == stub_text(), "run: python tests/stub.py"


@pytest.mark.parametrize("name", NODES)
def test_arguments_of_a_node(name):
    classes = {
        node.name: node for node in ast.parse(STUB.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
    }
    (init,) = (node for node in classes[name].body if isinstance(node, ast.FunctionDef))
    parameters = inspect.signature(getattr(gpa, name)).parameters
    keyword_only = [p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert [arg.arg for arg in init.args.kwonlyargs] == keyword_only
    assert [arg.arg for arg in init.args.args] == ["self", *(p for p in parameters if p not in keyword_only)]
    optional = [p.name for p in parameters.values() if p.default is not p.empty]
    assert len(init.args.defaults) + len([d for d in init.args.kw_defaults if d is not None]) == len(optional)
    for default in (*init.args.defaults, *init.args.kw_defaults):
        value = None if default is None else ast.literal_eval(default)
        assert value in (None, ..., *(p.default for p in parameters.values() if p.default is not p.empty))


def test_every_name_is_there():
    assert set(gpa.__all__) <= set(dir(gpa))
    for name in gpa.__all__:
        assert getattr(gpa, name) is getattr(gpa, name)
    with pytest.raises(AttributeError, match="no attribute 'Binarise'"):
        gpa.Binarise  # noqa: B018


@pytest.mark.parametrize("name", NODES)
def test_nodes_have_the_names_that_their_types_give(name):
    assert getattr(gpa, name).__name__ == name
    assert getattr(gpa, name) is gpa.node_of(getattr(gpa, gpa._CONFIGS[name]))
