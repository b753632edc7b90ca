"""Everything that can be set about a sandbox before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from sandbox.limits import Limit

DEFAULT_LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        # add, get and list: older copies of the vendor's pages; wait: the Enterprise plan, see API-CONTRACT §1.
        "add": Limit(600, 60.0),
        "wait": Limit(40, 60.0),
        "get": Limit(1200, 60.0),
        "list": Limit(1200, 60.0),
    }
)

DEFAULT_AGENTS: Mapping[int, str] = MappingProxyType({1: "Document inventory", 2: "Checksums and first lines"})


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration drawn evenly from ``low_s`` to ``high_s``, both in seconds."""

    low_s: float
    high_s: float

    @classmethod
    def parse(cls, text: str) -> Seconds:
        """Read ``"2"`` or ``"2-8"``; raise ValueError for anything else, negative numbers included."""
        low, dash, high = text.strip().partition("-")
        try:
            low_s = float(low)
            high_s = float(high) if dash else low_s
        except ValueError as error:
            raise ValueError(f"{text!r} is not a number of seconds like 2 or 2-8") from error
        if not 0 <= low_s <= high_s < float("inf"):
            raise ValueError(f"{text!r} must be seconds from low to high, like 2-8")
        return cls(low_s, high_s)


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How a sandbox behaves; every field has a working default.

    ``port`` 0 means: choose a free one. ``accepted_keys`` None means: any key that isn't empty. ``limits`` has one
    entry per limited endpoint class (add, wait, get, list, delete, other); a class without one isn't limited.
    ``refused_count`` says whether a request answered 429 uses a place in the window too. ``retry_after`` is what a 429
    says: ``seconds`` (the true waiting time, rounded up), ``date``, ``none``, or any other text, sent as it is.
    ``credits`` are charged per file and finished prompt. ``owner_fd`` is a pipe: the sandbox ends when its other end
    closes. Runs that end are posted to ``webhook``, which can be set later, if there is a ``webhook_secret``.
    """

    port: int = 0
    limits: Mapping[str, Limit] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    refused_count: bool = False
    retry_after: str = "seconds"
    run_seconds: Seconds = Seconds(2.0, 2.0)
    agents: Mapping[int, str] = field(default_factory=lambda: dict(DEFAULT_AGENTS))
    accepted_keys: frozenset[str] | None = None
    faults: tuple[str, ...] = ()
    seed: int = 0
    credits: float = 1.0
    max_files: int = 300
    max_file_bytes: int = 250_000_000  # 250 MB as 10^6; the vendor doesn't say which, API-CONTRACT §1
    max_body_bytes: int = 50_000_000  # of a Kindo trigger; 50 MB as 10^6, API-CONTRACT §2
    log_file: Path | None = None
    owner_fd: int | None = None
    webhook: str | None = None
    webhook_secret: bytes | None = field(default=None, repr=False)
