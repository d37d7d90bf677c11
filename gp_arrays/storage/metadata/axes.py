"""Names of axes as stores and users give them, and which axes are spatial."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import TreeError

#: Names of non-spatial axes, and what they are called here.
NONSPATIAL = {"c": "c", "channel": "c", "channels": "c", "s": "s", "sample": "s", "samples": "s", "t": "t", "time": "t"}


def roles_of(
    ndim: int,
    user_names: Sequence[str] | None,
    names: Sequence[str] | None,
    dims: int | None = None,
    types: Sequence[str] | None = None,
) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """axis_roles of the names that a user gave, else of those that the store has."""
    if not user_names:
        return axis_roles(names, ndim, dims, types)
    try:
        return axis_roles(user_names, ndim, dims, types)
    except ValueError as error:
        raise TreeError(
            "its axes do not fit the array's shape",
            found=str(error),
            allowed=f"one name for each of {ndim} axes, at least one of them spatial",
        ) from None


def axis_roles(
    names: Sequence[str] | None, ndim: int, dims: int | None = None, types: Sequence[str] | None = None
) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Names of all axes, and which of them are non-spatial.

    Without names the last three axes (or as many as there are lengths, or those that
    ``types`` says) are z, y, x. Names may be those of the spatial axes alone. An axis whose
    type is not known is what its name says.

    >>> axis_roles(None, 4), axis_roles(["c^", "Y", "X"], 3)
    ((('c', 'z', 'y', 'x'), (True, False, False, False)), (('c', 'y', 'x'), (True, False, False)))
    """
    kinds = list(types) if types is not None and len(types) == ndim else None
    if names is not None and kinds is not None and len(names) == ndim:
        kinds = [
            kind or ("channel" if _is_nonspatial(name) else "space") for kind, name in zip(kinds, names, strict=True)
        ]
    if kinds is not None:
        dims = kinds.count("space")
    if names is not None and len({name.lower() for name in names}) != len(names):
        raise ValueError(f"an axis is named twice: {', '.join(names)}")
    if names is not None and len(names) not in (ndim, dims):
        raise ValueError(f"{len(names)} axis names {list(names)} for {ndim} axes")
    if names is not None and len(names) == ndim:
        roles = [kind != "space" for kind in kinds] if kinds is not None else [_is_nonspatial(name) for name in names]
        if all(roles):
            raise ValueError(f"no spatial axis among {', '.join(names)}")
        return tuple(
            NONSPATIAL.get(name.rstrip("^").lower(), name.rstrip("^")) if is_nonspatial else _spatial(name.rstrip("^"))
            for name, is_nonspatial in zip(names, roles, strict=True)
        ), tuple(roles)
    dims = min(ndim, 3) if dims is None else min(dims, ndim)
    if not dims:
        raise ValueError("no spatial axis")
    spatial = ["zyx"[-dims:][i] if dims <= 3 else f"d{i}" for i in range(dims)]
    spatial = spatial if names is None else list(map(_spatial, names))
    kinds = ["channel"] * (ndim - dims) + ["space"] * dims if kinds is None else kinds
    count = ndim - dims - kinds.count("time")
    nonspatial = ["s", "c"][-count:] if 0 < count <= 2 else [f"a{i}" for i in range(count)]
    names_by_kind = {"space": iter(spatial), "time": iter("t" * ndim)}
    others = iter(nonspatial)
    return tuple(next(names_by_kind.get(kind, others)) for kind in kinds), tuple(kind != "space" for kind in kinds)


def _is_nonspatial(name: str) -> bool:
    return name.lower() in NONSPATIAL or name.endswith("^")


def _spatial(name: str) -> str:
    """The name of a spatial axis; of the usual ones in lower case."""
    return name.lower() if name.lower() in ("z", "y", "x") else name
