"""Random documents and values give configs or an error of one short line, never an error of Python."""

import datetime
import decimal
import fractions
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.model.config import field_names, source_fields
from gp_arrays.trees.tree import parse_tree

OWN = {name: getattr(gpa, name) for name in gpa.ARRAY_TYPES}
DUMMY, DUMMY_CONFIG = {"__type__": "DummyArrayConfig"}, gpa.DummyArrayConfig("d")
HUGE = 16**5000  # Python refuses to print integers of so many digits

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.builds(lambda sign: sign * HUGE, st.sampled_from([1, -1])),
    st.sampled_from([2**64, -1, 0, 1]),
    st.floats(),
    st.text(),
    st.sampled_from(
        [
            "a" * 10_000,
            "\0",
            "\n\r\x1b",
            "1e999999999 nm",
            "1e-999999999",
            "1/0",
            "nm",
            "5 nm",
            "uint8",
            "raw",
            "r+",
            "9" * 10_000,
        ]
    ),
    st.sampled_from([datetime.date(2001, 1, 1), datetime.datetime(2001, 1, 1), b"bytes", float("nan")]),
)
keys = st.one_of(
    st.sampled_from(["__type__", "unit", "name", "raw", "a", "_id", "type"]),
    st.sampled_from(sorted({field for cls in OWN.values() for field in field_names(cls)})),
    st.text(max_size=5),
    st.sampled_from([1, None, 2.5, True]),
)
types = st.one_of(
    st.sampled_from(sorted(OWN)), st.sampled_from(["Nope", "", [], {}, 5, "TrainValidateDataSplitConfig"])
)


def tables(children):
    plain = st.dictionaries(keys, children, max_size=4)
    typed = st.builds(lambda kind, values: {"__type__": kind, **values}, types, plain)
    return st.one_of(
        st.lists(children, max_size=4), plain, typed, st.sampled_from(sorted(OWN)).flatmap(entries(children))
    )


def entries(children):
    """Entries of a type with a value for each required field, so that the converters are reached."""

    def of(name):
        cls = OWN[name]
        fields = {
            field: st.one_of(st.just("raw"), st.just(DUMMY), children) if field in source_fields(cls) else children
            for field in field_names(cls)
            if field != "name"
        }
        required = {
            f.name: fields[f.name] for f in attrs.fields(cls) if f.name in fields and f.default is attrs.NOTHING
        }
        optional = {field: value for field, value in fields.items() if field not in required}
        return st.fixed_dictionaries({"__type__": st.just(name), **required}, optional=optional)

    return of


values = st.recursive(scalars, tables, max_leaves=4)
documents = st.one_of(values, st.dictionaries(keys, values, max_size=3).map(lambda table: {"raw": DUMMY, **table}))


def check(call):
    """The result of a call, or None after an error that is one short line."""
    try:
        return call()
    except gpa.GpArraysError as error:
        message = str(error)
        assert len(message) < 2000
        assert message.isprintable()
        return None


@given(document=documents)
@settings(max_examples=60)
def test_documents(document):
    configs = check(lambda: parse_tree(document, Path("/somewhere")))
    for config in (configs or {}).values():
        assert isinstance(config, gpa.ArrayConfig)
        assert hash(config) == hash(config.with_fields())


python_values = st.one_of(
    values,
    st.sampled_from(
        [
            np.float64("nan"),
            np.int64(-3),
            np.zeros(3),
            np.zeros((2, 2), "M8[s]"),
            np.array(5),
            decimal.Decimal("Infinity"),
            decimal.Decimal("1e999999"),
            fractions.Fraction(1, 3),
            gpa.Roi((0, None), (4, None)),
            Path("a\0b"),
            object(),
            print,
            int,
            gpa.DummyArrayConfig("d"),
            {1, 2},
            range(10**9),
            range(10**30),
            ("a", [1, 2]),
            gpa,
        ]
    ),
)


@pytest.mark.parametrize("name", sorted(OWN))
@given(data=st.data())
@settings(max_examples=20)
def test_values_of_every_type(name, data):
    cls = OWN[name]
    dummy = gpa.DummyArrayConfig("d")
    likely = [("a", [1, 2]), [("a", [1])], [dummy], {"a": dummy}, (1, 1, 1), "raw", 1, 0.5, np.zeros((2, 2), np.uint8)]
    arguments = {
        field: data.draw(st.one_of(python_values, st.sampled_from([dummy, *likely])))
        for field in field_names(cls)
        if getattr(attrs.fields(cls), field).default is attrs.NOTHING or data.draw(st.booleans())
    }
    config = check(lambda: cls(**arguments))
    if config is not None:
        assert config == config.with_fields()
        assert len(repr(config)) > 0


nested = []
for _ in range(1200):  # Python's limit of recursion is 1000
    nested = [nested]


@pytest.mark.parametrize(
    "value",
    [nested, HUGE, "a" * 10**6, "\n\x1b[2J" * 10**5, "\udcff" * 1000, [HUGE] * 3, {"a": nested}],
    ids=["nested", "huge", "long", "control", "surrogates", "list", "mapping"],
)
@pytest.mark.parametrize("name", sorted(OWN))
def test_values_that_are_very_long_or_deep(name, value):
    cls = OWN[name]
    for field in field_names(cls):
        others = {"name": "a", **dict.fromkeys(source_fields(cls), DUMMY_CONFIG), field: value}
        required = {f.name: "raw" for f in attrs.fields(cls) if f.init and f.default is attrs.NOTHING}
        check(lambda fields={**required, **others}: cls(**fields))
        check(lambda fields={**required, **others}: parse_tree({"a": {"__type__": name, **fields}}))


NAMES = ["t.toml", "t.yaml", "t.json"]


@pytest.mark.parametrize("name", NAMES)
@given(text=st.one_of(st.text(), st.text(alphabet="[]{}:,-\"'!&*?|>%@`#=<. \nab1~", min_size=1)))
@settings(max_examples=50)
def test_texts_of_files(tmp_path_factory, name, text):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8", newline="")
    check(lambda: gpa.load_tree(path))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary())
@settings(max_examples=50)
def test_bytes_of_files(tmp_path_factory, name, data):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    check(lambda: gpa.load_tree(path))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!bool x",
        "a: !!int ''",
        "a: !!timestamp x",
        "a: !!float x",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "a: !!set {x, y}",
        "a: !!binary '*'",
        "a: !!python/tuple x",
        "!!python/tuple [a]",
        "[" * 5000,
        "a: " * 3,
        "--- a\n--- b",
        "%YAML 9.9\n--- a",
        "<<: {a: 1}",
        "a: 2001-99-99",
        "",
    ],
)
def test_yaml_that_is_not_a_tree(tmp_path, text):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(gpa.GpArraysError) as caught:
        gpa.load_tree(tmp_path / "t.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", NAMES)
def test_encodings(tmp_path, name):
    text = {"toml": '[d]\n__type__ = "DummyArrayConfig"\n', "yaml": "d: {__type__: DummyArrayConfig}\n"}
    text = text.get(name[2:], '{"d": {"__type__": "DummyArrayConfig"}}')
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert gpa.load_tree(tmp_path / name) == {"d": gpa.DummyArrayConfig("d")}
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        (tmp_path / name).write_text(text, encoding=encoding)
        with pytest.raises(gpa.TreeError, match="not a (TOML|YAML|JSON) document") as caught:
            gpa.load_tree(tmp_path / name)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "path", [None, 5, b"t.toml", "", "t\0.toml", "\udcff\ud800.toml", "n" * 5000 + ".toml", ".", ["t.toml"]]
)
def test_paths_of_no_file(path):
    dummy = gpa.DummyArrayConfig("d")
    for call in (
        lambda: gpa.load_tree(path),
        lambda: gpa.save_tree([dummy], path),
        lambda: dummy.to_toml(path),
        lambda: gpa.DummyArrayConfig.from_toml(path),
    ):
        with pytest.raises(gpa.GpArraysError) as caught:
            call()
        assert len(str(caught.value)) < 2000
        assert str(caught.value).isprintable()
