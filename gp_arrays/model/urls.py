"""URLs of stores and the options that reach them; neither may hold a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError, quoted
from .fields import is_url, to_options, to_path

#: The message for a config with a secret says this.
WHERE_SECRETS_GO = (
    "secrets in the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, ...) or in fsspec's own "
    "configuration (FSSPEC_S3_KEY, ~/.config/fsspec/*.json), where each process finds them"
)
#: Names of options that hold secrets contain one of these words.
_SECRET = re.compile(
    r"key|secret|token|passw|passphrase|pwd|credential|auth|cookie|signature|connection_?string|(^|_)(sas|user(name)?)($|_)",
    re.IGNORECASE,
)
#: Values of such options that are not secret: they name a way to log in.
_WAYS = (None, "", "anon", "cloud", "google_default", True, False)


@attrs.frozen(repr=False)
class Url:
    """The URL of a store, without a slash at its end. Raises ConfigError for one that holds a secret.

    >>> Url("s3://bucket/volume.zarr/")
    's3://bucket/volume.zarr'
    """

    text: str

    def __attrs_post_init__(self) -> None:
        if not self.text.endswith("://"):
            object.__setattr__(self, "text", self.text.rstrip("/"))
        if without_secrets(self.text) != self.text:
            raise ConfigError(
                "a URL with a password or a query, which may be a secret",
                found=without_secrets(self.text),
                allowed=f"the URL alone; {WHERE_SECRETS_GO}",
            )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return repr(self.text)

    def canonical(self) -> str:
        return self.text

    def document(self) -> str:
        return self.text


def without_secrets(text: str) -> str:
    """A text without the passwords and queries of the URLs in it.

    >>> without_secrets("no https://me:word@host/a.zarr?token=x, status 404")
    'no https://host/a.zarr, status 404'
    """
    text = re.sub(r"(?<=://)[^/@\s]*:[^/@\s]*@", "", text)
    return re.sub(r"""(://[^\s?'"]*)\?[^\s'",)]*""", r"\1", text)


def to_store(value: Any) -> Path | Url:
    """attrs converter: a path on disk, or the URL of a store.

    >>> to_store("gs://bucket/a.zarr"), to_store("file:///data/a.zarr"), to_store(Path("file:///data/a.zarr"))
    ('gs://bucket/a.zarr', PosixPath('/data/a.zarr'), PosixPath('/data/a.zarr'))
    """
    if isinstance(value, Url):
        return value
    if not isinstance(value, (str, Path)) or not is_url(value):
        return to_path(value)
    # a Path keeps only one of several slashes
    if local := re.match(r"(?:file|local):(?://)?(?s:(.*))", str(value)):
        return to_path(local[1])
    text = re.sub(r"(^|::)([A-Za-z][\w+.-]+):/(?!/)", r"\1\2://", str(value))
    if not text.isprintable():
        raise ConfigError("not a URL", found=quoted(without_secrets(text)))
    return Url(text)


def to_store_options(value: Any) -> dict[str, Any] | None:
    """attrs converter: options of fsspec for a URL, or None. Raises ConfigError for those that hold secrets.

    >>> to_store_options({"anon": True, "client_kwargs": {"region_name": "us-east-1"}})
    {'anon': True, 'client_kwargs': {'region_name': 'us-east-1'}}
    """
    options = to_options(value)
    secrets = list(_secrets(options or {}))
    if secrets:
        raise ConfigError(
            "options that hold secrets, which a config must not", found=", ".join(secrets), allowed=WHERE_SECRETS_GO
        )
    return options


def _secrets(options: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The names of options that hold secrets, at any depth."""
    for key, value in options.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _secrets(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            yield from _secrets({str(i): item for i, item in enumerate(value)}, f"{name}.")
        elif (isinstance(value, str) and without_secrets(value) != value) or (
            _SECRET.search(str(key)) and not (isinstance(value, (str, bool, type(None))) and value in _WAYS)
        ):
            yield name
