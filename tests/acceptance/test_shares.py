"""Several batches on one account, with the shipped command: judged by the order in which the provider saw them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox

PACE = 10
AGENT = ("--agent", "kolena:1", "--files-per-run", "1")


@dataclass(frozen=True)
class Scene:
    """A command, and the sandbox that its only account names."""

    paceline: Paceline
    sandbox: Sandbox

    def arrived(self) -> list[str]:
        """Return the batches of the requests that the provider has had, in order."""
        entries = self.sandbox.log(request_class="add", files=False)
        named = (entry["external_id"] for entry in entries)  # None while a request is still being read
        return [name.partition(".")[0] for name in named if name]

    def submit(self, source: str, name: str, *options: str) -> str:
        """Start a batch; return its id."""
        result = self.paceline.here("submit", source, "--to", name, "--name", name, *AGENT, *options)
        assert result.code == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    make_files(tmp_path / "many", 400)
    make_files(tmp_path / "few", 5)
    with (
        Sandbox("--run-seconds", "0.2", "--limit", f"add={PACE}/2s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, ACCOUNTS__KOLENA__LIMITS__ADD=f"{PACE}/2s") as command,
    ):
        yield Scene(command, sandbox)


def test_shares_are_fair_priority_is_obeyed_and_a_small_batch_is_not_kept_waiting(scene: Scene) -> None:
    huge = scene.submit("many", "huge")
    wait_for(lambda: len(scene.arrived()) > PACE, "the huge batch at work")
    other = scene.submit("many", "other")
    small = scene.submit("few", "small")
    began = len(scene.arrived())
    wait_for(lambda: scene.arrived().count(small) == 5, "the small batch")
    after = scene.arrived()[began:]
    assert len(after) - after[::-1].index(small) <= 5 * PACE, "five of its own among two others, and what was released"
    wait_for(lambda: len(scene.arrived()) >= began + 6 * PACE, "two more windows")
    shares = Counter(scene.arrived()[began + PACE :])
    assert abs(shares[huge] - shares[other]) <= PACE
    urgent = scene.submit("many", "urgent", "--priority", "5")
    began = len(scene.arrived())
    wait_for(lambda: len(scene.arrived()) >= began + 5 * PACE, "the urgent batch at work")
    assert scene.arrived()[began + 2 * PACE : began + 5 * PACE].count(urgent) >= 3 * PACE - 2
    stats = scene.sandbox.stats()["classes"]["add"]
    assert (stats["refused_429"], stats["max_in_window"] <= PACE) == (0, True)
    for batch in (huge, other, urgent):
        assert scene.paceline.here("cancel", batch).code == 0
