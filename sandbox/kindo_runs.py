"""Kindo's runs, addressed by their uuid alone, and what was submitted more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sandbox.kindo_agents import FAILURE, SUCCESS, fenced, message
from sandbox.runs import Course

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

IN_PROGRESS = "in_progress"


class KindoRun:
    """One accepted run; a course with a failing prompt is one without a result.

    ``found`` is the JSON text its agent found, ``fingerprint`` names what was submitted. Times ``*_s`` are on the
    sandbox's monotonic clock, ``*_us`` are microseconds since 1970. ``conversation_id`` None: the answer lacks the key.
    """

    __slots__ = (
        "agent_id",
        "conversation_id",
        "course",
        "created_s",
        "created_us",
        "fingerprint",
        "finish_s",
        "found",
        "run_id",
    )

    def __init__(
        self,
        *,
        agent_id: str,
        conversation_id: str | None,
        course: Course,
        created_s: float,
        created_us: int,
        fingerprint: str,
        found: str,
    ) -> None:
        self.run_id = str(uuid4())
        self.agent_id = agent_id
        self.conversation_id = conversation_id
        self.course = course
        self.created_s = created_s
        self.created_us = created_us
        self.finish_s = created_s + course.seconds
        self.fingerprint = fingerprint
        self.found = found

    def status(self, now_s: float) -> str:
        """Say in_progress, or the word the run has ended with."""
        if now_s < self.finish_s:
            return IN_PROGRESS
        return self.course.status or (FAILURE if self.course.failing_prompts else SUCCESS)

    def finish(self, now_s: float) -> bool:
        """End the run now if it hasn't ended; say whether it was still in progress."""
        if now_s < self.finish_s:
            self.finish_s = now_s
            return True
        return False

    def to_dict(self, now_s: float) -> dict[str, Any]:
        """Give the API's form of the run."""
        ended = now_s >= self.finish_s
        with_result = ended and not self.course.failing_prompts
        form: dict[str, Any] = {"runId": self.run_id, "agentId": self.agent_id}
        if self.conversation_id is not None:
            form["conversationId"] = self.conversation_id
        return form | {
            "createdAtUtc": self._time(self.created_s),
            "endedAtUtc": self._time(self.finish_s) if ended else None,
            "result": message(fenced(self.found)) if with_result else None,
            "status": self.status(now_s),
        }

    def _time(self, time_s: float) -> str:
        moment = _EPOCH + timedelta(microseconds=self.created_us + round((time_s - self.created_s) * 1e6))
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class KindoRunStore:
    """All of Kindo's runs by id, in the order they were accepted."""

    def __init__(self) -> None:
        self._runs: dict[str, KindoRun] = {}
        self._by_agent: dict[str, list[str]] = {}
        self._by_fingerprint: dict[str, list[KindoRun]] = {}

    @property
    def accepted(self) -> int:
        """Count the runs."""
        return len(self._runs)

    def add(self, run: KindoRun) -> None:
        """Keep a run."""
        self._runs[run.run_id] = run
        self._by_agent.setdefault(run.agent_id, []).append(run.run_id)
        self._by_fingerprint.setdefault(run.fingerprint, []).append(run)

    def get(self, run_id: str) -> KindoRun | None:
        """Find one run."""
        return self._runs.get(run_id.lower())

    def all(self) -> Iterator[KindoRun]:
        """Go through every run, oldest first."""
        yield from self._runs.values()

    def recent(self, agent_id: str, count: int) -> list[str]:
        """Give the ids of an agent's last runs, newest first."""
        return self._by_agent.get(agent_id, [])[: -count - 1 : -1]

    def clear(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self._by_agent.clear()
        self._by_fingerprint.clear()

    def to_dict(self, now_s: float) -> dict[str, Any]:
        """Give ``{"accepted", "unique", "statuses": {word: n}, "duplicates": [{"fingerprint", "agent", "run_ids"}]}``.

        A submission's fingerprint covers its agent and its documents' names and contents, see ``content_fingerprint``.
        """
        return {
            "accepted": self.accepted,
            "unique": len(self._by_fingerprint),
            "statuses": dict(Counter(run.status(now_s) for run in self.all())),
            "duplicates": [
                {"fingerprint": name, "agent": runs[0].agent_id, "run_ids": [run.run_id for run in runs]}
                for name, runs in self._by_fingerprint.items()
                if len(runs) > 1
            ],
        }
