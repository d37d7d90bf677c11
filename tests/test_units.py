"""Lengths with units are read exactly."""

from fractions import Fraction

import numpy as np
import pytest

from gp_arrays.errors import ConfigError
from gp_arrays.units import Quantity, coarsest_unit, decimal_text, parse_unit, shortest_decimal


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5.24 nm", "pm", 5240),
        ("5240.5 nm", "pm", 5240500),
        ("4nm", "nm", 4),
        ("1e-2 um", "nm", 10),
        ("0.05 angstrom", "pm", 5),
        ("3 Å", "pm", 300),
        ("1.5 µm", "nm", 1500),
        ("-2 micrometers", "nm", -2000),
    ],
)
def test_texts_convert_exactly(text, unit, value):
    assert Quantity.parse(text).to(unit) == value


@pytest.mark.parametrize(
    ("number", "decimal"),
    [
        (5.239999771118164, "5.24"),
        (float(np.float32(0.1)), "0.1"),
        (0.1, "0.1"),
        (5.24, "5.24"),
        (1e-9, "1E-9"),
        (4.0, "4.0"),
    ],
)
def test_a_float_means_its_shortest_decimal(number, decimal):
    assert Fraction(shortest_decimal(number)) == Fraction(decimal)


@pytest.mark.parametrize("bad", ["5 parsec", "nm", "5.2.1 nm", True, None, float("nan"), float("inf"), [4], "1/3 nm"])
def test_texts_that_are_not_lengths_are_refused(bad):
    with pytest.raises(ConfigError):
        Quantity.parse(bad)


def test_unit_names():
    assert [parse_unit(u) for u in ("nm", "nanometer", "Nanometers", "micron", "µm", "meter", "picometre")] == [
        "nm",
        "nm",
        "nm",
        "um",
        "um",
        "m",
        "pm",
    ]
    with pytest.raises(ConfigError, match="allowed: fm, pm, nm"):
        parse_unit("pixel")


def test_coarsest_unit_suits_all():
    parse = Quantity.parse
    assert coarsest_unit([parse("5.24 nm"), parse("4 nm")], "nm") == "pm"
    assert coarsest_unit([parse("4000 nm"), parse("2 um")], "nm") == "um"
    assert coarsest_unit([parse("0.0005 nm")], "nm") == "fm"
    assert coarsest_unit([Quantity(Fraction(1, 3), "nm")], "nm") is None
    assert coarsest_unit([parse(3), parse("5.24 nm")], "nm") == "pm"


def test_decimal_text():
    assert [decimal_text(Fraction(v)) for v in ("5.24", "-0.05", "0.125", "12")] == ["5.24", "-0.05", "0.125", "12"]
    assert str(Quantity.parse("5.24 nm")) == "5.24 nm"
