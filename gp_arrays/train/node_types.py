"""The gunpowder node of an array type, made from its config class."""

from __future__ import annotations

import copyreg
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import gunpowder as gp

from ..errors import ConfigError, TreeError, quoted
from ..model import fields
from ..model.base import ArrayConfig, SourceConfig
from ..model.config import source_fields
from .nodes import FilterNode
from .steps import SourceNode
from .upstream import upstream

PACKAGE = __name__.partition(".")[0]


class NodeType(type):
    """The class of the classes that ``node_of`` makes. It lets them pickle, though no module holds them."""

    config_type: type[ArrayConfig]


def _reduce(cls: NodeType) -> Any:
    made_here = "config_type" in vars(cls)
    return (node_of, (cls.config_type,)) if made_here else cls.__qualname__


copyreg.pickle(NodeType, _reduce)


_NODES: dict[type[ArrayConfig], NodeType] = {}


def node_of(config_type: type[ArrayConfig]) -> type[Any]:
    """The gunpowder node of an array type.

    A computed type gives a ``gunpowder.BatchFilter``: its arguments are the array keys of the
    config's sources, in the order of its fields, the key to provide, and the other fields
    without ``name``. A type that reads a store gives a ``gunpowder.BatchProvider``: its
    arguments are the key to provide, the other fields, and ``tree_unit``, the unit of bare
    numbers. The same class gives the same node each time; nodes and their classes pickle.

    Args:
        config_type: The class of a config, such as BinarizeArrayConfig.

    Raises:
        ConfigError: It is not the class of an array type.

    >>> import gp_arrays as gpa
    >>> gpa.node_of(gpa.BinarizeArrayConfig) is gpa.Binarize, issubclass(gpa.Binarize, gp.BatchFilter)
    (True, True)
    >>> inspect.signature(gpa.Ones)
    <Signature (source: 'gp.ArrayKey', target: 'gp.ArrayKey')>
    """
    is_type = isinstance(config_type, type) and issubclass(config_type, ArrayConfig)
    if not is_type or vars(config_type).get("abstract", False):
        raise ConfigError(
            "not the class of an array type", found=quoted(config_type), allowed="a class such as BinarizeArrayConfig"
        )
    if config_type not in _NODES:
        _NODES.setdefault(config_type, _make(config_type))
    return _NODES[config_type]


def _make(config_type: type[ArrayConfig]) -> NodeType:
    is_source = issubclass(config_type, SourceConfig)
    signature = _signature(config_type, is_source)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            arguments = signature.bind(self, *args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}() {error}") from None
        del arguments["self"]
        (_init_source if is_source else _init_filter)(self, config_type, arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    name = node_name(config_type)
    inside = config_type.__module__.partition(".")[0] == PACKAGE
    namespace = {
        "__init__": __init__,
        "__doc__": _docstring(config_type, signature),
        "__module__": PACKAGE if inside else config_type.__module__,
        "config_type": config_type,
    }
    # as a base class has no metaclass of ours, a user's class that derives from a node gets NodeType too
    return NodeType(name, (SourceNode if is_source else FilterNode,), namespace)


def node_name(config_type: type[ArrayConfig]) -> str:
    """The name of an array type's node: what its class says, else by the name of the class.

    >>> import gp_arrays as gpa
    >>> [node_name(c) for c in (gpa.SumArrayConfig, gpa.ZarrArrayConfig, gpa.MissingAnnotationsMaskConfig)]
    ['Sum', 'ZarrSource', 'MissingAnnotations']
    """
    declared = vars(config_type).get("node_name")
    if declared is not None:
        return str(declared)
    name = config_type.__name__.removesuffix("Config").removesuffix("Array")
    if issubclass(config_type, SourceConfig):
        return f"{name}Source"
    return name if name != config_type.__name__ else f"{name}Node"


def _argument(field: attrs.Attribute[Any]) -> str:
    """The name of the argument that takes the keys of a config's sources.

    ``source`` for ``source_array_config``, ``sources`` for ``source_array_configs``.
    """
    return re.sub(r"(_array)?_config(s?)$", r"\2", field.name)


def _source_arguments(config_type: Any) -> dict[str, attrs.Attribute[Any]]:
    names = source_fields(config_type)
    return {_argument(field): field for field in attrs.fields(config_type) if field.name in names}


def _signature(config_type: type[ArrayConfig], is_source: bool) -> inspect.Signature:
    sources = {field.alias: (name, field) for name, field in _source_arguments(config_type).items()}
    first: list[inspect.Parameter] = []
    others: list[inspect.Parameter] = []
    # a default that is created anew each time is given as its value
    factories = {
        field.alias: field.default.factory()
        for field in attrs.fields(config_type)
        if isinstance(field.default, attrs.Factory) and not field.default.takes_self  # type: ignore[arg-type]
    }
    for parameter in list(inspect.signature(config_type).parameters.values())[1:]:
        parameter = parameter.replace(default=factories.get(parameter.name, parameter.default))
        if parameter.name == "tree_unit" and not is_source:
            continue
        if parameter.name in sources:
            name, field = sources[parameter.name]
            parameter = parameter.replace(name=name, annotation=_key_annotation(field))
            (first if parameter.default is parameter.empty else others).append(parameter)
        else:
            optional = parameter.name in config_type.node_defaults
            others.append(parameter.replace(default=None) if optional else parameter)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    target = inspect.Parameter("key" if is_source else "target", kind, annotation="gp.ArrayKey")
    extra = dict.fromkeys(config_type.node_attributes, "Any")
    if not (is_source or config_type.any_nonspatial_axes):
        extra["axes"] = "Sequence[str] | None"
    last = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in extra.items()
    ]
    return inspect.Signature([inspect.Parameter("self", kind), *first, target, *others, *last])


def _key_annotation(field: attrs.Attribute[Any]) -> str:
    text = str(field.type)
    if re.search(r"\b(dict|Mapping)\b", text):
        return "Mapping[str, gp.ArrayKey]"
    if re.search(r"\b(tuple|list|Sequence)\b", text):
        return "Sequence[gp.ArrayKey]"
    return "gp.ArrayKey" if field.default is attrs.NOTHING else "gp.ArrayKey | None"


def _docstring(config_type: type[Any], signature: inspect.Signature) -> str:
    """The docstring of a config class, with the arguments of its node and without examples."""
    before, _, after = inspect.cleandoc(config_type.__doc__ or "").partition("Args:\n")
    arguments, _, after = after.partition("\n\n")
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", arguments, flags=re.MULTILINE)
    descriptions = {name: text for names, text in entries for name in names.split(", ")}
    for name, field in _source_arguments(config_type).items():
        descriptions[name] = f"{descriptions.get(field.name, 'The sources.').rstrip('.')}, as array keys."
    descriptions["key"] = descriptions["target"] = "The array key to provide."
    descriptions["tree_unit"] = "The unit of numbers without a unit; nm by default."
    descriptions["axes"] = (
        'Names of the axes before the spatial ones, such as ("s", "c"), where gp.Unsqueeze hides them.'
    )
    for name in config_type.node_attributes:
        descriptions[name] = f"The attribute {name!r} of the source's store: array keys carry no attributes."
    lines = [f"    {name}: {descriptions[name]}" for name in signature.parameters if name in descriptions]
    paragraphs = [part for part in after.split("\n\n") if part and not part.lstrip().startswith(">>>")]
    intro = before.strip() or f"The node of {config_type.__name__}."
    return "\n\n".join(
        [intro, f"The gunpowder node of {config_type.__name__}.", "Args:\n" + "\n".join(lines), *paragraphs]
    )


def _init_source(node: SourceNode, config_type: type[Any], arguments: dict[str, Any]) -> None:
    key = arguments.pop("key")
    SourceNode.__init__(node, key, config_type(str(key), **arguments))


def _init_filter(node: FilterNode, config_type: type[Any], arguments: dict[str, Any]) -> None:
    target = arguments.pop("target")
    attributes = {name: arguments.pop(name, None) for name in config_type.node_attributes}
    axes = fields.named("axes", fields.to_names, arguments.pop("axes", None))
    keys: list[gp.ArrayKey] = []

    def stand_in(key: gp.ArrayKey) -> ArrayConfig:
        keys.append(key)
        return upstream(key)

    for name, field in _source_arguments(config_type).items():
        if name in arguments:
            value = _sequence(arguments.pop(name), name, field)
            arguments[field.alias or field.name] = _each(value, stand_in)
    for name, default in config_type.node_defaults.items():
        if arguments.get(name) is None:
            arguments[name] = default(arguments)
    config = config_type(str(target), **arguments)
    FilterNode.__init__(
        node,
        keys,
        target,
        config,
        attributes={name: value for name, value in attributes.items() if value is not None},
        axes=axes,
    )


def _sequence(value: Any, name: str, field: attrs.Attribute[Any]) -> Any:
    """The keys of an argument as its field wants configs: one, by name, or a list of them."""
    annotation = _key_annotation(field)
    if annotation.startswith("Mapping") and not isinstance(value, Mapping):
        raise TreeError(f"{name} must be array keys by name", found=quoted(value), allowed='such as {"raw": RAW}')
    if annotation.startswith("Sequence"):
        if not isinstance(value, (Mapping, list, tuple)):
            raise TreeError(f"{name} must be a list of array keys", found=quoted(value))
        return list(value.values() if isinstance(value, Mapping) else value)
    return value


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to one key, or to each key of a mapping or list; None stays None."""
    if isinstance(value, Mapping):
        return {name: change(key) for name, key in value.items()}
    if isinstance(value, (list, tuple)):
        return [change(key) for key in value]
    return None if value is None else change(value)
