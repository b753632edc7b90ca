"""Hides secrets in what a person will read: the last line of defence, as nothing should show them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

LEAST_SECRET = 6
"""Shorter values are no keys, and hiding them would hide half of every line."""


class Mask:
    """Replaces the values of the variables `key_envs`, read anew at each call, and the `passwords`."""

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
            yield name, os.environ.get(name, "").strip()
        for password in self._passwords:
            yield "password", password
