"""Which API keys are let in; they can be revoked and restored while clients work."""

from __future__ import annotations

from sandbox.arrivals import fingerprint

KEY_REFUSALS = (401, 403)


class KeyRing:
    """Remembers keys by fingerprint only, so that nothing here can give one away."""

    def __init__(self, accepted: frozenset[str] | None) -> None:
        self._accepted = None if accepted is None else {fingerprint(key) for key in accepted}
        self._revoked: dict[str, int] = {}
        self._all_revoked: int | None = None

    def refusal(self, key: str) -> int | None:
        """Say which status refuses a key's fingerprint ("" for no key): 401, 403, or None when it is good."""
        if not key:
            return 401
        if self._all_revoked is not None:
            return self._all_revoked
        if key in self._revoked:
            return self._revoked[key]
        if self._accepted is not None and key not in self._accepted:
            return 401
        return None

    def revoke(self, key: str | None, status: int = 401) -> None:
        """Refuse one fingerprint, or every key (None), with 401 or 403 from now on."""
        if status not in KEY_REFUSALS:
            raise ValueError(f"a key is refused with 401 or 403, not {status}")
        if key is None:
            self._all_revoked = status
        else:
            self._revoked[key] = status

    def restore(self, key: str | None) -> None:
        """Undo ``revoke`` for one fingerprint, or (None) for all of them."""
        if key is None:
            self._all_revoked = None
            self._revoked.clear()
        else:
            self._revoked.pop(key, None)

    def accept_only(self, fingerprints: frozenset[str] | None) -> None:
        """Let in these fingerprints and no others; None: any key."""
        self._accepted = None if fingerprints is None else set(fingerprints)

    def to_dict(self) -> dict[str, object]:
        """Give ``{"accepted": [fingerprint] | null, "revoked": {fingerprint: status}, "all": status | null}``."""
        return {
            "accepted": None if self._accepted is None else sorted(self._accepted),
            "revoked": dict(self._revoked),
            "all": self._all_revoked,
        }
