"""What the contract of providers needs to know about one: a `Bench` for each, beside a service that behaves."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paceline.model import Outcome
from paceline.providers.base import Provider, SubmitRequest, Upload
from paceline.providers.http import HttpPolicy
from paceline.providers.kinds import Opening, ProviderKind

FILES: Mapping[str, bytes] = {
    "Ünï 文.txt": b"one two\nthree\n",
    'quo"te.txt': "naïve".encode(),
    "empty-ish.txt": b"\n",
    "big.txt": b"0123456789abcde\n" * 30_000,
}
ANSWER_BYTES = 200_000
"""The longest answer that is read; services answer less about a run of `FILES`."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Bench:
    """A provider, and a service of its kind that behaves and ends runs at once.

    `runs` counts the runs that the service has started. `id_key` and `status_key` are how its answers call a run's id
    and its status, `words` what its statuses mean. `mentions(body, data)` tells whether a request's body holds a file.
    """

    kind: ProviderKind
    url: str
    key: str
    agent: str
    unknown_agent: str
    unknown_run: str
    runs: Callable[[], int]
    id_key: str
    status_key: str
    words: Mapping[str, Outcome]
    options: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=lambda: FILES)
    mentions: Callable[[bytes, bytes], bool] = lambda body, data: data in body

    def open(
        self, url: str | None = None, *, whole_read_s: float = 20.0, key: Callable[[], str] | None = None
    ) -> Provider:
        """Open the adapter, at the service itself or at another address."""
        return self.kind.open(
            Opening(
                url=url or self.url,
                key=key or (lambda: self.key),
                policy=HttpPolicy(answer_bytes=ANSWER_BYTES, whole_read_s=whole_read_s),
                size_limits=self.kind.size_limits,
                rates=self.kind.rates,
                options={**self.kind.options, **self.options},
            )
        )

    def settled(self) -> Mapping[str, str]:
        """Return what holds for a batch without further inputs."""
        provider = self.open()
        return provider.settle(provider.describe_agent(self.agent), {})

    def request(self, **changes: Any) -> SubmitRequest:
        """Write a submission of `files` under an id of its own."""
        given: dict[str, Any] = {
            "agent": self.agent,
            "external_id": f"b00000000a.b00000000a-{next(_numbers):06d}",
            "uploads": uploads(self.files),
            "deadline_s": 20.0,
            "gate": lambda: None,
            "settled": self.settled(),
        }
        return SubmitRequest(**{**given, **changes})


def uploads(files: Mapping[str, bytes]) -> list[Upload]:
    """Write files that are in memory as uploads."""

    def opening(data: bytes) -> Callable[[], io.BytesIO]:
        return lambda: io.BytesIO(data)

    return [Upload(name, name, len(data), opening(data)) for name, data in files.items()]
