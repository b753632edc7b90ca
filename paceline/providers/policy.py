"""Names what an exchange with a provider is given: its limits, its body, who is asked and told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Params = Sequence[tuple[str, str]]
Gate = Callable[[], None]
Listener = Callable[[bytes], None]


class Body(Protocol):
    """What is sent: byte strings whose lengths add up to exactly `len()`; iterating again starts over."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """The limits of every exchange: seconds per system call, seconds for a whole read, bytes of an answer.

    `connect_s` is per address of the host; name lookup is bounded by the system's resolver only. `answer_bytes` counts
    bytes as sent and as unpacked. `ca_file` replaces the public certificate authorities (certifi's).
    """

    connect_s: float = 10.0
    read_s: float = 90.0
    write_s: float = 60.0
    pool_s: float = 10.0
    whole_read_s: float = 60.0
    answer_bytes: int = 100_000_000
    ca_file: str | None = None
