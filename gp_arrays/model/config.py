"""Configs: frozen pure data, one class per array type, nested into a tree or a DAG."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs

from ..errors import ConfigError, GpArraysError, quoted
from . import fields
from .nested import digest, instances, replaced
from .registry import TYPES

#: Metadata of an attrs field that holds a config, a tuple, or a mapping of configs.
SOURCE: Mapping[str, Any] = {"gp_arrays_source": True}


def _check_name(_: Any, attribute: attrs.Attribute[str], name: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("an array needs a name", found=quoted(name), allowed="a text that is not empty")


@attrs.frozen(eq=False, repr=False)
class Config:
    """What an array is, as data: its name, its sources, its parameters.

    Derive array types from ``ArrayConfig``, ``PointwiseConfig`` or ``SourceConfig``. Making a
    config checks each value; how arrays fit together is checked when the tree is compiled.

    Two configs are equal if their fields are equal; no file is opened to compare them.
    ``content`` is a digest of all fields but the names, those of the sources included:
    arrays of equal content have the same voxels and are computed once. In a tree all
    arrays of one name have one content.
    """

    name: str = attrs.field(validator=_check_name)
    #: The unit of bare numbers in the file that the config comes from, if the file says one.
    tree_unit: str | None = attrs.field(default=None, converter=fields.to_unit, kw_only=True)
    content: str = attrs.field(init=False)
    identity: str = attrs.field(init=False)

    #: Field names in documents of other tools, and the field here; None for one that is ignored.
    aliases: ClassVar[Mapping[str, str | None]] = {}
    #: True for base classes: a tree file cannot ask for one.
    abstract: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            if "gp_arrays_source" in field.metadata:
                _check_sources(field, getattr(self, field.name))
        self.check()
        values = {key: value for key, value in self.fields().items() if key != "name"}
        # content says all but the names, those of the sources included
        object.__setattr__(self, "content", digest(type(self).__name__, self.tree_unit, values))
        names = [config.identity for config in self.children()]
        object.__setattr__(self, "identity", digest(self.content, self.name, names))

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        if cls.__eq__ is not Config.__eq__ or cls.__repr__ is not Config.__repr__:
            raise TypeError(f"declare {cls.__name__} with @attrs.frozen(eq=False, repr=False)")
        cls.__init__ = _placing_errors(cls.__init__)  # type: ignore[method-assign]
        if not cls.__dict__.get("abstract", False):
            TYPES[cls.__name__] = cls

    def check(self) -> None:
        """Checks across fields, for array types to add to. Raises ConfigError."""

    def canonical(self) -> str:
        """What stands for it in the digest of a config that is computed from it."""
        return self.content

    def fields(self) -> dict[str, Any]:
        """The values that make this config, by field name."""
        return {field: getattr(self, field) for field in field_names(type(self))}

    def children(self) -> tuple[Config, ...]:
        """The configs this one is computed from, in the order of its fields."""
        return tuple(
            config for field in source_fields(type(self)) for config in instances(getattr(self, field), Config)
        )

    def modules(self) -> tuple[str, ...]:
        """The modules that a process has to import before it can make this config from a document."""
        return (type(self).__module__,)

    def with_fields(self, **changes: Any) -> Self:
        """The same config with other values in some fields."""
        return type(self)(**{"tree_unit": self.tree_unit, **self.fields(), **changes})

    def in_unit(self, unit: str | None) -> Self:
        """The same config in a tree whose bare numbers are in ``unit``."""
        return self.with_fields(tree_unit=unit)

    def located(self, base: Path) -> Self:
        """The same config with relative paths, in any of its fields, taken from ``base``."""
        return self.with_paths(lambda path: path if fields.is_url(path) else base / path)

    def pinned(self) -> Self:
        """The same config with names that may come to mean something else, such as a branch, looked up.

        A job calls it when it starts, so that all its workers read the same. Raises StoreError.
        """
        return self

    def with_paths(self, change: Callable[[Path], Path]) -> Self:
        """The same config with ``change`` applied to each path in its fields."""
        changes = {
            key: replaced(value, Path, change) for key, value in self.fields().items() if any(instances(value, Path))
        }
        return self.with_fields(**changes) if changes else self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        for key, value in self.fields().items():
            if key != "name" and value != _default_of(type(self), key):
                parts.append(f"{key}={replaced(value, Config, lambda config: config.name)!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # flat, because pickling a deep tree node by node exceeds the recursion limit
        order = all_configs([self])
        index = {config: _Reference(i) for i, config in enumerate(order)}
        rows = [
            (
                type(config),
                {key: replaced(value, Config, index.__getitem__) for key, value in config.fields().items()},
                config.tree_unit,
            )
            for config in order
        ]
        return _rebuild, (rows,)


@attrs.frozen
class _Reference:
    """What stands for a config among the values of another: its position in a list."""

    position: int


def _rebuild(rows: list[tuple[type[Config], dict[str, Any], str | None]]) -> Config:
    configs: list[Config] = []
    for cls, values, tree_unit in rows:
        values = replaced(values, _Reference, lambda reference: configs[reference.position])
        configs.append(cls(**values, tree_unit=tree_unit))
    return configs[-1]


def _once_a_class(function: Callable[[Any], tuple[str, ...]]) -> Callable[[Any], tuple[str, ...]]:
    return functools.cache(function)


@_once_a_class
def field_names(cls: Any) -> tuple[str, ...]:
    """Names of the fields that a config of that type is made from."""
    return tuple(field.name for field in attrs.fields(cls) if field.init and field.name != "tree_unit")


@_once_a_class
def source_fields(cls: Any) -> tuple[str, ...]:
    """Names of the fields that hold configs."""
    return tuple(field.name for field in attrs.fields(cls) if "gp_arrays_source" in field.metadata)


def not_a_config(value: Any, problem: str = "not an array config", allowed: str | None = None) -> ConfigError:
    """The error for a value that is no array config; of an ``Array`` it says where its config is."""
    is_array = isinstance(getattr(value, "config", None), Config)
    return ConfigError(problem, found=quoted(value), allowed="its config: array.config" if is_array else allowed)


def require_config(value: Any, *path: str) -> None:
    """Raises ConfigError for a value that is no array config."""
    if not isinstance(value, Config):
        raise not_a_config(value).at(*path)


def _check_sources(field: attrs.Attribute[Any], value: Any) -> None:
    """Raises ConfigError if a field does not hold the configs that its annotation says."""
    if value is None and field.default is None:
        return
    # annotations of several configs, such as tuple[Config, ...], may be texts
    several = isinstance(value, (tuple, Mapping)) and "[" in str(field.type)
    configs = (value,) if not several else value.values() if isinstance(value, Mapping) else value
    if not configs:
        raise ConfigError(f"{field.name} is empty", allowed="at least one array config")
    for config in configs:
        if not isinstance(config, Config):
            raise not_a_config(config, f"{field.name} is not an array config")


def _default_of(cls: Any, name: str) -> Any:
    default = getattr(attrs.fields(cls), name).default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def all_configs(roots: Iterable[Config]) -> list[Config]:
    """Every config of some trees once, sources before what is computed from them."""
    order: list[Config] = []
    seen: set[Config] = set()
    # without recursion, so that a chain of a thousand arrays is fine
    stack: list[tuple[Config | None, Iterator[Config]]] = [(None, iter(roots))]
    while stack:
        config, children = stack[-1]
        child = next((child for child in children if child not in seen), None)
        if child is not None:
            seen.add(child)
            stack.append((child, iter(child.children())))
            continue
        stack.pop()
        if config is not None:
            order.append(config)
    return order


def rebuilt(roots: Iterable[Config], change: Callable[[Config], Config]) -> list[Config]:
    """The same trees with ``change`` applied to each config, to sources first."""
    roots = list(roots)
    results: dict[Config, Config] = {}
    for config in all_configs(roots):
        changes = {
            field: replaced(getattr(config, field), Config, results.__getitem__)
            for field in source_fields(type(config))
        }
        same = all(results[child] is child for child in config.children())
        results[config] = change(config if same else config.with_fields(**changes))
    return [results[root] for root in roots]


def located(roots: Mapping[str, Config], base: Path) -> dict[str, Any]:
    """Trees that can be read from any working directory: relative paths are taken from ``base``."""
    return dict(zip(roots, rebuilt(roots.values(), lambda config: config.located(base)), strict=True))


def pinned(roots: Mapping[str, Config]) -> dict[str, Any]:
    """Trees that stay the same while a job runs: see ``Config.pinned``."""
    return dict(zip(roots, rebuilt(roots.values(), lambda config: config.pinned()), strict=True))


def _placing_errors(init: Callable[..., None]) -> Callable[..., None]:
    """``init``, whose errors say which array and, where a converter refused, which field."""

    @functools.wraps(init)
    def wrapped(self: Config, *args: Any, **kwargs: Any) -> None:
        values = {**dict(zip(field_names(type(self)), args, strict=False)), **kwargs}
        name = values.get("name")
        try:
            init(self, *args, **kwargs)
        except (GpArraysError, RecursionError) as error:
            if not isinstance(error, GpArraysError):
                error = ConfigError("values are nested too deeply in each other")
            field = _refusing(type(self), values)
            if field is not None:
                error = type(error)(f"{field}: {error.problem}", error.found, error.allowed, error.path)
            raise error.at(name if isinstance(name, str) and name.strip() else type(self).__name__) from None

    return wrapped


def _refusing(cls: type[Any], values: Mapping[str, Any]) -> str | None:
    """The first field whose converter refuses its value."""
    for field in attrs.fields(cls):
        if field.name in values and field.converter is not None:
            try:
                field.converter(values[field.name])
            except (GpArraysError, RecursionError):
                return str(field.name)
    return None
