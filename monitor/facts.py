"""What the pages are made from, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paceline.batch_view import BatchView
from paceline.circuit import CircuitView
from paceline.limiter import PaceView
from paceline.model import BatchState, EndpointClass, Submission
from paceline.pauses import Pause
from paceline.tallies import Tallies
from paceline.views import AccountView

if TYPE_CHECKING:
    from monitor.board import Around


@dataclass(frozen=True, slots=True)
class Head:
    """A batch in short; `state` is None where it can't be read."""

    id: str
    name: str
    source: str
    account: str
    agent: str
    state: BatchState | None
    created_ms: int

    @property
    def open(self) -> bool:
        """Tell whether something may still happen to it."""
        return self.state is not BatchState.COMPLETE

    def mentions(self, text: str) -> bool:
        """Tell whether a text stands in its id, name, source, account or agent, whatever the case."""
        return text.casefold() in f"{self.id}\n{self.name}\n{self.source}\n{self.account}:{self.agent}".casefold()


@dataclass(frozen=True, slots=True)
class Heads:
    """The newest batches, of `total`, names of accounts, signs of live workers; `now_ms` is Redis time.

    `accounts_left_out` more accounts are not named.
    """

    now_ms: int
    total: int
    batches: tuple[Head, ...]
    accounts: tuple[str, ...]
    signs: tuple[Mapping[str, object], ...]
    accounts_left_out: int = 0


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """An endpoint class of an account: pace now, permits in each of the last 60 minutes (oldest first), 429s."""

    pace: PaceView
    hour: tuple[int, ...]
    refused: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account: `classes` is empty for one that isn't set here, as its limits aren't known then.

    `broken`: what the ledger has of it can't be read.
    """

    name: str
    view: AccountView
    pause: Pause | None
    circuit: CircuitView | None
    tallies: Tallies
    classes: Mapping[EndpointClass, ClassFacts]
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A submission of a list; None where its hash can't be read."""

    id: str
    found: Submission | None


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch with what its page lists: held, uncertain and running ones, examples by reason, the journal's end.

    The journal's entries are the newest first, as `Views.journal` gives them.
    """

    view: BatchView
    around: Around
    listed: Mapping[str, list[Listed]]
    examples: Mapping[str, list[str]]
    journal: tuple[Mapping[str, str], ...]
