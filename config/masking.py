"""Hides secrets in what a person will read: the last line of defence, as nothing should show them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from paceline.errors import CredentialsError
from paceline.secrets import read_secret

LEAST_SECRET = 6
"""Shorter values are no keys, and hiding them would hide half of every line."""


class Mask:
    """Replaces the secrets in the variables `key_envs`, or in the files they name, and the `passwords`.

    Variables and files are read anew at each call, some 20 µs for a file: a key may have been replaced meanwhile.
    """

    def __init__(self, key_envs: Iterable[str] = (), passwords: Iterable[str] = ()) -> None:
        self._key_envs = tuple(key_envs)
        self._passwords = tuple(passwords)

    def __call__(self, text: str) -> str:
        """Return the text without secrets, whether as they are, as JSON writes them, or as URLs do."""
        for name, secret in self._secrets():
            if len(secret) >= LEAST_SECRET:
                for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)):
                    text = text.replace(form, f"[{name}]")
        return text

    def _secrets(self) -> Iterator[tuple[str, str]]:
        for name in self._key_envs:
            try:
                yield name, read_secret(name)
            except CredentialsError:  # then nobody could use it either
                continue
        for password in self._passwords:
            yield "password", password
