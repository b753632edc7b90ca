"""The runs and their course: nothing ticks, a run's state is worked out from the clock whenever it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.agent import PromptResult, to_json

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RUNNING, SUCCESS, FAILED = "running", "success", "failed"


@dataclass(frozen=True, slots=True)
class Course:
    """How a run will go: it takes ``seconds`` (infinite: never ends); the first ``failing_prompts`` prompts fail.

    ``status`` is the word it ends with, None: failed if any prompt failed.
    """

    seconds: float
    failing_prompts: int = 0
    status: str | None = None
    error: str = "The sandbox was told to fail this prompt."


class Run:
    """One accepted run. Times ``*_s`` are on the sandbox's monotonic clock, ``*_us`` are microseconds since 1970."""

    __slots__ = (
        "_final",
        "_fixed",
        "_parts",
        "agent_id",
        "course",
        "created_s",
        "created_us",
        "credits",
        "external_id",
        "finish_s",
        "n_prompts",
        "run_id",
    )

    def __init__(
        self,
        *,
        run_id: int,
        agent_id: int,
        external_id: str | None,
        file_names: Sequence[str],
        results: tuple[PromptResult, ...],
        course: Course,
        created_s: float,
        created_us: int,
        credits_per_prompt: float,
    ) -> None:
        self.run_id = run_id
        self.agent_id = agent_id
        self.external_id = external_id
        self.course = course
        self.created_s = created_s
        self.created_us = created_us
        self.finish_s = created_s + course.seconds
        self.credits = credits_per_prompt
        self.n_prompts = len(results)
        self._parts = results
        self._final: bytes | None = None
        order = [result.name for result in results]
        self._fixed = b'"files":%b,"run_url":%b,"order":%b' % (
            to_json(file_names),
            to_json(f"https://agents.sandbox.invalid/agents/{agent_id}/runs/{run_id}"),
            to_json(order),
        )

    def status(self, now_s: float) -> str:
        """Say running, success or failed."""
        if now_s < self.finish_s:
            return RUNNING
        if self.course.status is not None:
            return self.course.status
        return FAILED if self.course.failing_prompts else SUCCESS

    def finish(self, now_s: float) -> bool:
        """End the run now if it hasn't ended; say whether it was still running."""
        if now_s < self.finish_s:
            self.finish_s = now_s
            return True
        return False

    def credits_used(self, now_s: float) -> float | None:
        """Count the credits of the finished prompts; None while there are none."""
        finished = self._finished_prompts(now_s)
        return finished * self.credits if finished else None

    def to_json(self, now_s: float) -> bytes:
        """Serialize as the API's AgentRun: every key, null where there is nothing, finished prompts only."""
        if self._final is not None:
            return self._final
        ended = now_s >= self.finish_s
        finished = self._finished_prompts(now_s)
        updated = self._time(self._prompt_end_s(finished - 1) if finished else self.created_s)
        used = self.credits_used(now_s)
        body = (
            b'{"agent_id":%d,"run_id":%d,"user_defined_id":%b,"created":"%b","updated":"%b","completed":%b,%b,'
            b'"data":{%b},"status":"%b","usage":%b}'
        ) % (
            self.agent_id,
            self.run_id,
            to_json(self.external_id),
            self._time(self.created_s),
            updated,
            b'"%b"' % self._time(self.finish_s) if ended else b"null",
            self._fixed,
            b",".join(self._prompt(index) for index in range(finished)),
            self.status(now_s).encode(),
            b"null" if used is None else b'{"credits_used":%b}' % to_json(used),
        )
        if ended:
            self._final = body  # never changes again: ten thousand finished runs are listed from here
            self._parts = ()
        return body

    def _finished_prompts(self, now_s: float) -> int:
        if now_s >= self.finish_s:
            return self.n_prompts
        share = (now_s - self.created_s) / (self.finish_s - self.created_s)
        return math.floor(share * self.n_prompts)

    def _prompt_end_s(self, index: int) -> float:
        if math.isinf(self.finish_s):
            return self.created_s
        return self.created_s + (self.finish_s - self.created_s) * (index + 1) / self.n_prompts

    def _time(self, time_s: float) -> bytes:
        moment = self.created_us + round((time_s - self.created_s) * 1e6)
        return (_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="microseconds").encode()

    def _prompt(self, index: int) -> bytes:
        part = self._parts[index]
        failed = index < self.course.failing_prompts
        return (
            b'%b:{"status":"%b","value":%b,"error":%b,"metadata":%b,"user_input":null,"start_time":"%b",'
            b'"end_time":"%b","usage":{"credits_used":%b}}'
        ) % (
            to_json(part.name),
            b"failed" if failed else b"success",
            b"null" if failed else part.value,
            to_json(self.course.error) if failed else b"null",
            b"null" if failed else part.metadata,
            self._time(self._prompt_end_s(index - 1)),
            self._time(self._prompt_end_s(index)),
            to_json(self.credits),
        )


class RunStore:
    """All runs, found by (agent, run id) and by (agent, external id) without looking at any other run."""

    def __init__(self) -> None:
        self._next_id = 500_001  # far from any agent's id, so that a mix-up is seen
        self._by_agent: dict[int, dict[int, Run]] = {}
        self._by_external_id: dict[tuple[int, str], list[Run]] = {}
        self.accepted_ids: dict[str, list[int]] = {}
        self.accepted = 0
        self.deleted = 0

    def next_id(self) -> int:
        """Hand out the next run id; they are never used again, not even after ``clear``."""
        run_id = self._next_id
        self._next_id += 1
        return run_id

    def add(self, run: Run) -> None:
        """Keep a run; one external id may have several."""
        self._by_agent.setdefault(run.agent_id, {})[run.run_id] = run
        self.accepted += 1
        if run.external_id is not None:
            self._by_external_id.setdefault((run.agent_id, run.external_id), []).append(run)
            self.accepted_ids.setdefault(run.external_id, []).append(run.run_id)

    def get(self, agent_id: int, run_id: int) -> Run | None:
        """Find one run; None for another agent's."""
        return self._by_agent.get(agent_id, {}).get(run_id)

    def delete(self, run: Run) -> None:
        """Forget a run; what was accepted stays counted."""
        del self._by_agent[run.agent_id][run.run_id]
        if run.external_id is not None:
            self._by_external_id[run.agent_id, run.external_id].remove(run)
        self.deleted += 1

    def clear(self) -> None:
        """Forget everything but the numbering."""
        self._by_agent.clear()
        self._by_external_id.clear()
        self.accepted_ids.clear()
        self.accepted = self.deleted = 0

    def count(self, agent_id: int) -> int:
        """Count an agent's runs, deleted ones not."""
        return len(self._by_agent.get(agent_id, {}))

    def all(self) -> Iterator[Run]:
        """Go through every run, oldest first inside each agent."""
        for runs in self._by_agent.values():
            yield from runs.values()

    def select(self, agent_id: int, run_ids: Iterable[int] | None, external_ids: Iterable[str] | None) -> Iterable[Run]:
        """Find an agent's runs, newest first; None is no filter, two filters are and-ed, unknown ids are missing."""
        runs = self._by_agent.get(agent_id, {})
        if run_ids is not None:
            found = [runs[run_id] for run_id in sorted(set(run_ids), reverse=True) if run_id in runs]
            if external_ids is not None:
                wanted = set(external_ids)
                found = [run for run in found if run.external_id in wanted]
            return found
        if external_ids is not None:
            found = [run for id_ in set(external_ids) for run in self._by_external_id.get((agent_id, id_), ())]
            return sorted(found, key=lambda run: run.run_id, reverse=True)
        return reversed(runs.values())
