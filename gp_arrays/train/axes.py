"""What the axes before the spatial ones mean in a pipeline, where only their number is known from a batch."""

from __future__ import annotations

import gunpowder as gp

from ..model.meta import CHANNEL

#: The axis that ``gp.Stack`` puts in front.
SAMPLE = "s"

#: Names of axes, first to last; None for an axis of unknown meaning.
Names = tuple[str | None, ...]


class NamesAxes:
    """A node that knows the non-spatial axes of what it provides."""

    def axis_names(self, key: gp.ArrayKey, count: int) -> Names | None:
        """The names of ``count`` non-spatial axes of an array; None if the node does not provide it."""
        raise NotImplementedError


def axis_names(provider: gp.BatchProvider, key: gp.ArrayKey, count: int) -> Names:
    """The names of the ``count`` non-spatial axes that an array has downstream of a provider.

    They are followed upstream, along the branches that provide the key, to the node that
    provides it first. Of an array from a node that is not of this library, one axis is
    channels and two are samples and channels, unless samples were stacked before that node.
    """
    if isinstance(provider, NamesAxes):
        own = provider.axis_names(key, count)
        if own is not None:
            return own
    branches = [p for p in provider.get_upstream_providers() if p.spec is not None and key in p.spec]
    if not branches:
        return (None,) * count if _changes_axes(provider) else _by_convention(count)
    if isinstance(provider, gp.Stack):
        return (SAMPLE, *axis_names(branches[0], key, count - 1)) if count else ()
    if isinstance(provider, gp.Unsqueeze) and key in provider.arrays:
        names = axis_names(branches[0], key, max(count - 1, 0))
        return (*names[: provider.axis], None, *names[provider.axis :])[:count]
    if isinstance(provider, gp.Squeeze) and key in provider.arrays:
        names = axis_names(branches[0], key, count + 1)
        return names[: provider.axis] + names[provider.axis + 1 :]
    answers = {axis_names(branch, key, count) for branch in branches}
    return answers.pop() if len(answers) == 1 else (None,) * count


def _by_convention(count: int) -> Names:
    return (SAMPLE, CHANNEL)[-count:] if 0 < count <= 2 else (None,) * count


def _changes_axes(provider: gp.BatchProvider) -> bool:
    """True if samples are stacked or axes added anywhere upstream of a node."""
    return any(
        isinstance(upstream, (gp.Stack, gp.Unsqueeze, gp.Squeeze)) or _changes_axes(upstream)
        for upstream in provider.get_upstream_providers()
    )
