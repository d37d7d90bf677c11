"""How often a request to a server is repeated, and after which pauses."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping

#: How often a request is sent before its failure is reported, and the seconds before the second time; then twice that.
ATTEMPTS, METADATA_ATTEMPTS, FIRST_DELAY = 6, 3, 0.25
#: The longest pause between two attempts, also where the server asks for a longer one.
LONGEST_DELAY = 10.0

# its own: the random state of the caller stays as it is
_random = random.Random()


def pause(attempt: int, at_least: float = 0.0) -> None:
    """Sleep before an attempt: not before the first, which is number 0; then about twice as long each time."""
    if attempt:
        time.sleep(max(at_least, FIRST_DELAY * 2 ** (attempt - 1) * _random.uniform(0.75, 1.25)))


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """The seconds that a ``Retry-After`` header asks for, within bounds.

    >>> asked_to_wait({"Retry-After": "2"}), asked_to_wait({"Retry-After": "3600"}), asked_to_wait({})
    (2.0, 10.0, 0.0)
    """
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_DELAY) if re.fullmatch(r"\d{1,9}", text) else 0.0
