"""Kindo's hosted agents: files travel inside one input's value, each run is asked after by itself.

The API has no list of runs and no id of ours, so nothing can be found again once an answer is lost.

Marks say how well a fact about the service is known: [doc] its own pages, [guess] inferred. Guesses must be survivable.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from paceline.errors import AgentUnknown, Ambiguous, ConfigError, Unavailable
from paceline.model import EndpointClass, Outcome, RunView
from paceline.providers.answers import Answer, Gatherer, Unreadable, clean
from paceline.providers.base import Accepted, AgentInfo, SubmitRequest, Usage
from paceline.providers.http import Http
from paceline.providers.kindo_body import INPUT, REFERENCE, Body, Forms
from paceline.providers.kindo_kind import CAPABILITIES, RATES, UUID
from paceline.providers.kinds import Opening

log = logging.getLogger(__name__)

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")

ANSWER_BYTES = 20_000_000
"""Of one answer at most: a result is kept three times, raw, as text and parsed."""

_ID = re.compile(UUID, re.ASCII)
_OUTCOMES = {"success": Outcome.SUCCEEDED, "failure": Outcome.FAILED, "cancelled": Outcome.CANCELLED}
_NO_DATA: Mapping[str, Any] = {"text": None, "json": None, "result": None}


def _uuid(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("no uuid")
    return value


def _or_none(value: object, handler: Any) -> Any:
    """Take an optional part that makes no sense for one that is missing: it must not hide the run."""
    try:
        return handler(value)
    except ValidationError:
        return None


Id = Annotated[str, AfterValidator(_uuid)]
Lenient = WrapValidator(_or_none)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)


class _Run(_Body):
    """A run as the service writes it. Strict in the ids, lenient in everything else."""

    run_id: Id = Field(alias="runId")
    agent_id: str | None = Field(None, alias="agentId")
    status: Annotated[str | None, Lenient] = None
    result: Any = None


class _Agent(_Body):
    name: Annotated[str | None, Lenient] = None
    inputs: Annotated[list[Any] | None, Lenient] = None
    has_triggers: Annotated[bool | None, Lenient] = Field(None, alias="hasTriggers")


class Kindo:
    """Kindo under one key. Thread-safe. Its options are `input`, `send` and `reference_url`, as accounts have them."""

    name = "kindo"
    capabilities = CAPABILITIES

    def __init__(self, opening: Opening) -> None:
        policy = replace(opening.policy, answer_bytes=min(opening.policy.answer_bytes, ANSWER_BYTES))
        self._http = Http(opening.url, opening.key, policy)
        self._options = opening.options
        self._before_further_request = opening.before_further_request
        self._forms = Forms()
        self.size_limits = opening.size_limits
        self.rates = {**RATES, **opening.rates}

    def __repr__(self) -> str:
        return f"Kindo({self._http!r})"

    def submit(self, request: SubmitRequest) -> Accepted:
        """Start a run with the files in its input; see `Provider.submit`. Reads each file before the gate is asked."""
        if not _ID.fullmatch(request.agent):
            raise _unknown(request.agent, None)
        settled = {**self._options, **request.settled}
        body = Body(
            request.agent,
            settled.get("input") or INPUT,
            request.inputs,
            request.uploads,
            self._forms,
            reference_url=settled.get("reference_url", "") if settled.get("send") == REFERENCE else None,
        )
        answer = self._http.post(
            "/v1/agents/runs",
            body=body,
            content_type="application/json",
            deadline_s=request.deadline_s,
            gate=request.gate,
        )
        run = _accepted_run(answer, request.agent)
        return Accepted(RunView(run.run_id, None, clean(run.status or ""), None), body.digests)

    def ask(self, agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        """Ask after runs, with a request for each; see `Provider.ask`. Runs of other agents are left out."""
        found = {}
        for number, run_id in enumerate(run_ids):
            if number:
                self._before_further_request(EndpointClass.GET)
            run = self._look_up(run_id)
            if run is not None and not _is_agents(run, agent):
                log.error("kindo.foreign_run", extra={"agent": agent, "run_id": run_id})
            elif run is not None:
                found[run_id] = _view(run, run_id)
        return found

    def get(self, agent: str, run_id: str) -> RunView | None:
        """Look one run up; None if the service says that it has no such run, or that it isn't ours (the same 404)."""
        run = self._look_up(run_id)
        if run is not None and not _is_agents(run, agent):
            raise Unavailable(f"run {clean(run_id)} is one of another agent")
        return None if run is None else _view(run, run_id)

    def _look_up(self, run_id: str) -> _Run | None:
        answer = self._http.get(f"/v1/runs/{quote(run_id, safe='')}")
        if answer.status == 404:
            _check_spoken(answer)
            return None
        run = _read(_Run, answer.value)
        if run.run_id.lower() != run_id.lower():
            raise Unavailable("the provider answered with another run")
        return run

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        """Refuse: the API has neither a list of runs nor ids of ours."""
        raise Unavailable("Kindo can't be asked which runs it has")

    def describe_agent(self, agent: str) -> AgentInfo:
        """Look the agent up; see `Provider.describe_agent`."""
        if not _ID.fullmatch(agent):
            raise _unknown(agent, None)
        answer = self._http.get(f"/v1/agents/{agent}")
        if answer.status == 404:
            _check_spoken(answer)
            raise _unknown(agent, 404)
        found = _read(_Agent, answer.value)
        unfit = None
        if found.has_triggers:
            unfit = "it has triggers, and Kindo starts such agents by nothing else; remove them, or name another agent"
        return AgentInfo(agent, clean(found.name) if found.name else None, _labels(found.inputs), unfit)

    def settle(self, agent: AgentInfo, inputs: Mapping[str, str]) -> Mapping[str, str]:
        """Settle which input takes the files, and how they travel; see `Provider.settle`.

        Kindo drops inputs that an agent doesn't have, without a word, and refuses a run that lacks one.
        """
        if agent.unfit:
            raise ConfigError(f"agent {agent.agent} can't be run: {agent.unfit}")
        if not_utf8 := [name for name, value in inputs.items() if not _is_utf8(name + value)]:
            raise ConfigError(f"--input {clean(not_utf8[0])}: it isn't UTF-8, and JSON holds nothing else")
        send = self._options.get("send") or "content"
        wanted = self._options.get("input", "")
        if agent.inputs is None:
            if not wanted:
                raise ConfigError(
                    f"Kindo doesn't say what inputs agent {agent.agent} has: set the account's `input` to the one that"
                    " takes the files"
                )
            return {"input": wanted, "send": send}
        files = _input_for_files(agent.inputs, inputs, wanted)
        missing = [name for name in agent.inputs if name not in inputs and name != files]
        if missing:
            told = " ".join(f"--input {name}=…" for name in missing)
            raise ConfigError(f"the agent has further inputs, and Kindo refuses a run without them; add {told}")
        return {"input": files, "send": send}

    def usage(self, agent: str, since: datetime) -> Usage | None:
        """Return None: Kindo doesn't say what runs cost."""
        return None

    def delete(self, agent: str, run_id: str) -> None:
        """Refuse: the API can't end a run."""
        raise Unavailable("Kindo can't end a run")

    def close(self) -> None:
        """Close kept connections."""
        self._http.close()


def _input_for_files(names: Sequence[str], given: Mapping[str, str], wanted: str) -> str:
    """Choose the input that takes the files. Raises `ConfigError` for names that the agent doesn't have."""
    has = f"it has {', '.join(map(repr, names))}" if names else "it has none"
    if wanted and wanted not in names:
        raise ConfigError(
            f"the account's `input` is {wanted!r}, which the agent doesn't have{_hint(wanted, names)}; {has}"
        )
    for name in given:
        if name not in names:
            raise ConfigError(
                f"--input {name!r}: the agent has no such input, and Kindo would drop it without a word"
                f"{_hint(name, names)}; {has}"
            )
    left = [name for name in names if name not in given]
    files = wanted or (INPUT if INPUT in names else "")
    if files in given:
        raise ConfigError(f"--input {files!r}: that input takes the files; leave it out, or set the account's `input`")
    if not files and len(left) != 1:
        raise ConfigError(
            f"which input takes the files? None is named {INPUT!r}; {has}: set the account's `input`, and give the"
            " others with --input NAME=VALUE"
        )
    return files or left[0]


def _hint(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _labels(inputs: list[Any] | None) -> tuple[str, ...] | None:
    """Return the inputs' names: texts, or objects that hold one [guess]. None where they can't be read."""
    if inputs is None:
        return None
    found = []
    for one in inputs:
        names = [one] if not isinstance(one, Mapping) else [one.get(key) for key in ("name", "label", "key")]
        name = next((name for name in names if isinstance(name, str) and name), None)
        if name is None:
            return None
        found.append(name)
    return tuple(dict.fromkeys(found))


def _check_spoken(answer: Answer) -> None:
    """Raise `Unavailable` for a 404 that isn't the service's own: it speaks JSON, gateways speak HTML."""
    if not isinstance(answer.value, dict):
        raise Unavailable("something in between answers 404", http_status=answer.status)


def _unknown(agent: str, status: int | None) -> AgentUnknown:
    return AgentUnknown(f"Kindo has no agent {clean(agent)!r} for this key; agents are uuids", http_status=status)


def _read(model: type[B], value: object) -> B:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Unavailable("the provider's answer makes no sense") from error


def _accepted_run(answer: Answer, agent: str) -> _Run:
    """Return the run that an answer names. Raises `Ambiguous` unless it has an id and can be one of this agent's."""
    try:
        run = _Run.model_validate(answer.value)
    except ValidationError as error:
        text = "the provider's answer names no run"
        raise Ambiguous(text, http_status=answer.status, body_sent=True) from error
    if not _is_agents(run, agent):
        text = "the provider answered with a run of another agent"
        raise Ambiguous(text, http_status=answer.status, body_sent=True)
    return run


def _is_agents(run: _Run, agent: str) -> bool:
    return run.agent_id is None or run.agent_id.lower() == agent.lower()  # null: the agent was deleted [doc]


def _view(run: _Run, run_id: str) -> RunView:
    """Translate a run. A status word that nobody knows means: not finished, ask again."""
    status = run.status or ""
    outcome = _OUTCOMES.get(status)
    failed = outcome is Outcome.FAILED
    return RunView(
        run_id=run_id,
        external_id=None,
        raw_status=clean(status),
        outcome=outcome,
        error_message=f"the run failed; Kindo's API gives no reason, its page of run {run_id} may" if failed else None,
        data={} if outcome is None else _data(run.result),
    )


def _data(result: object) -> Mapping[str, Any]:
    """Return `{"text", "json", "result"}`: what the agent said last, that as JSON if it is some, and all as it came."""
    if result is None:
        return _NO_DATA
    raw = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    text = unfenced(_last_text(_parsed(raw), raw))
    return {"text": text, "json": None if text is None else _parsed(text), "result": raw}


def _last_text(message: object, raw: str) -> str | None:
    """Return the last text part of a message that isn't empty, None if it has none; any other result as it is."""
    parts = message.get("parts") if isinstance(message, dict) else None
    if not isinstance(parts, list):
        return raw if raw.strip() else None
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type", "text") == "text"]
    return next((text for text in reversed(texts) if isinstance(text, str) and text.strip()), None)


def unfenced(text: str | None) -> str | None:
    """Take one Markdown fence off a text that is nothing but one fenced block; any other is returned as it is."""
    opening, _, rest = (text or "").strip().partition("\n")
    inside, _, closing = rest.rpartition("\n")
    mark = opening[: len(opening) - len(opening.lstrip(opening[:1]))]
    fence = len(mark) >= 3 and mark[0] in "`~" and mark[0] not in opening[len(mark) :]
    if not fence or not _closes(mark, closing) or any(_closes(mark, line) for line in inside.split("\n")):
        return text
    return inside


def _closes(mark: str, line: str) -> bool:
    """Tell whether a line ends a block that began with this mark."""
    line = line.strip()
    return len(line) >= len(mark) and line == mark[0] * len(line)


def _parsed(text: str) -> Any:
    """Parse JSON with an answer's own bounds on depth and weight; None for what isn't any."""
    gatherer = Gatherer(ANSWER_BYTES)
    try:
        gatherer.feed(text.encode())
        return gatherer.json()
    except (Unreadable, UnicodeEncodeError):
        return None
