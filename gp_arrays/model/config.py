"""Configs: frozen pure data, one class per array type, nested into a tree or a DAG."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, GpArraysError, nearest
from ..units import Quantity

ENTRY_POINT_GROUP = "gp_arrays.types"

#: Metadata of an attrs field that holds a config, a sequence, or a mapping of configs.
SOURCE: Mapping[str, Any] = {"gp_arrays_source": True}

C = TypeVar("C", bound="Config")


def _check_name(_: Any, attribute: attrs.Attribute[str], name: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("an array needs a name", found=repr(name), allowed="a text that is not empty")


@attrs.frozen(eq=False, repr=False)
class Config:
    """What an array is, as data: its name, its sources, its parameters.

    Two configs are equal where they say the same, names included. ``content`` is a
    digest of all but the names: equal content means equal voxels, computed once.
    Making a config checks each value; how arrays fit together is checked when
    the tree is compiled.
    """

    name: str = attrs.field(validator=_check_name)
    content: str = attrs.field(init=False)
    identity: str = attrs.field(init=False)
    tree_unit: str | None = attrs.field(init=False)

    #: Field names of documents written by others, and what they are called here.
    aliases: ClassVar[Mapping[str, str]] = {}
    abstract: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        self.check()
        self._seal(None)

    def _seal(self, tree_unit: str | None) -> None:
        fields = {key: value for key, value in self.fields().items() if key != "name"}
        meant = {**fields, **self.meaning_of_names()}
        kind = type(self).__name__
        set_ = functools.partial(object.__setattr__, self)
        set_("tree_unit", tree_unit)
        set_("content", _digest([kind, tree_unit, _canonical(meant, "content")]))
        set_("identity", _digest([kind, tree_unit, self.name, _canonical(fields, "identity")]))

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        if cls.__eq__ is not Config.__eq__ or cls.__repr__ is not Config.__repr__:
            raise TypeError(f"declare {cls.__name__} with @attrs.frozen(eq=False, repr=False)")
        cls.__init__ = _placing_errors(cls.__init__)  # type: ignore[method-assign]
        if not cls.__dict__.get("abstract", False):
            TYPES[cls.__name__] = cls

    def check(self) -> None:
        """Checks across fields, for array types to add to."""

    def meaning_of_names(self) -> dict[str, Any]:
        """Fields that name sources, said without their names: what ``content`` takes of them."""
        return {}

    def fields(self) -> dict[str, Any]:
        """The values that make this config, by field name."""
        return {field: getattr(self, field) for field in field_names(type(self))}

    def children(self) -> tuple[Config, ...]:
        """The configs this one is computed from, in the order its rules see them."""
        found: list[Config] = []
        for field in source_fields(type(self)):
            found.extend(_configs_in(getattr(self, field)))
        return tuple(found)

    def with_fields(self: C, **changes: Any) -> C:
        """The same config with other values in some fields."""
        made = type(self)(**{**self.fields(), **changes})
        if self.tree_unit is not None:
            made._seal(self.tree_unit)
        return made

    def in_unit(self: C, unit: str | None) -> C:
        """The same config, marked as standing in a tree whose bare numbers are in ``unit``."""
        made = type(self)(**self.fields())
        made._seal(unit)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        for key, value in self.fields().items():
            if key != "name" and value != _default_of(type(self), key):
                shown = _names_in(value) if key in source_fields(type(self)) else value
                parts.append(f"{key}={shown!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # flat, because pickling a deep tree node by node exceeds the recursion limit
        order = walk([self])
        index = {config.identity: i for i, config in enumerate(order)}
        rows = [
            (
                type(config),
                {
                    key: _replace(value, lambda child: _Ref(index[child.identity]))
                    for key, value in config.fields().items()
                },
                config.tree_unit,
            )
            for config in order
        ]
        return _rebuild, (rows, index[self.identity])


@attrs.frozen
class _Ref:
    index: int


def _rebuild(rows: list[tuple[type[Config], dict[str, Any], str | None]], root: int) -> Config:
    made: list[Config] = []
    for cls, fields, tree_unit in rows:
        config = cls(**{key: _resolve(value, made) for key, value in fields.items()})
        if tree_unit is not None:
            config._seal(tree_unit)
        made.append(config)
    return made[root]


def _resolve(value: Any, made: list[Config]) -> Any:
    if isinstance(value, _Ref):
        return made[value.index]
    if isinstance(value, tuple):
        return tuple(_resolve(item, made) for item in value)
    if isinstance(value, dict):
        return {key: _resolve(item, made) for key, item in value.items()}
    return value


#: Every known array type, by class name.
TYPES: dict[str, type[Config]] = {}


def type_named(name: Any) -> type[Config]:
    """The array type of that class name; those of installed packages count too."""
    if name not in TYPES:
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            if entry.name == name:
                entry.load()
    if not isinstance(name, str) or name not in TYPES:
        known = sorted({*TYPES, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})
        raise ConfigError("unknown array type", found=repr(name), allowed=nearest(str(name), known) or ", ".join(known))
    return TYPES[name]


def field_names(cls: Any) -> tuple[str, ...]:
    """Names of the fields that a config of that type is made from."""
    return tuple(field.name for field in attrs.fields(cls) if field.init)


def source_fields(cls: Any) -> tuple[str, ...]:
    """Names of the fields that hold configs."""
    return tuple(field.name for field in attrs.fields(cls) if "gp_arrays_source" in field.metadata)


def _default_of(cls: Any, name: str) -> Any:
    default = getattr(attrs.fields(cls), name).default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default.factory()
    return default


def walk(roots: Iterable[Config]) -> list[Config]:
    """Every config below the roots once, sources before what is made of them."""
    order: list[Config] = []
    seen: set[str] = set()
    for root in roots:
        stack: list[tuple[Config, Iterator[Config]]] = []
        if root.identity not in seen:
            seen.add(root.identity)
            stack.append((root, iter(root.children())))
        while stack:
            config, children = stack[-1]
            for child in children:
                if child.identity not in seen:
                    seen.add(child.identity)
                    stack.append((child, iter(child.children())))
                    break
            else:
                order.append(config)
                stack.pop()
    return order


def changed(roots: Iterable[Config], change: Callable[[Config], Config]) -> list[Config]:
    """The roots anew, with every config below them as ``change`` gives it; sources come first."""
    made: dict[str, Config] = {}
    for config in walk(roots):
        old = config.children()
        if any(made[child.identity] is not child for child in old):
            fields = {
                field: _replace(getattr(config, field), lambda child: made[child.identity])
                for field in source_fields(type(config))
            }
            made[config.identity] = change(config.with_fields(**fields))
        else:
            made[config.identity] = change(config)
    return [made[root.identity] for root in roots]


def _placing_errors(init: Callable[..., None]) -> Callable[..., None]:
    """``init``, whose errors say which array and, where a converter refused, which field."""

    @functools.wraps(init)
    def wrapped(self: Config, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except GpArraysError as error:
            given = {**dict(zip(field_names(type(self)), args, strict=False)), **kwargs}
            name = given.get("name")
            field = _refusing(type(self), given)
            if field is not None:
                error = type(error)(f"{field}: {error.problem}", error.found, error.allowed, error.path)
            raise error.at(name if isinstance(name, str) and name else type(self).__name__) from None

    return wrapped


def _refusing(cls: type[Any], given: Mapping[str, Any]) -> str | None:
    """The first field whose converter refuses what was given."""
    for field in attrs.fields(cls):
        if field.name in given and field.converter is not None:
            try:
                field.converter(given[field.name])
            except GpArraysError:
                return str(field.name)
    return None


def _configs_in(value: Any) -> Iterator[Config]:
    if isinstance(value, Config):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _configs_in(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _configs_in(item)


def _replace(value: Any, by: Callable[[Config], Any]) -> Any:
    if isinstance(value, Config):
        return by(value)
    if isinstance(value, Mapping):
        return {key: _replace(item, by) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_replace(item, by) for item in value)
    return value


def _names_in(value: Any) -> Any:
    return _replace(value, lambda config: config.name)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(value: Any, of: str) -> Any:
    """``value`` as JSON that differs wherever the voxels could."""
    if isinstance(value, Config):
        return {"config": getattr(value, of)}
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return {"int": str(int(value))}
    if isinstance(value, (float, np.floating)):
        return {"float": float(value).hex()}
    if isinstance(value, Mapping):
        return {"map": [[_canonical(key, of), _canonical(item, of)] for key, item in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_canonical(item, of) for item in value]
    if isinstance(value, (Path, np.dtype, Quantity, Roi)):
        return {type(value).__name__: str(value)}
    if hasattr(value, "canonical"):
        return {type(value).__name__: value.canonical()}
    raise ConfigError(f"a {type(value).__name__} cannot stand in a config", found=repr(value))
