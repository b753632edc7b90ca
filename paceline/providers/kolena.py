"""Kolena's hosted agents: files travel as multipart uploads, runs are found again by our own id.

Marks say how well a fact about the service is known: [doc] its own pages or client, [guess] inferred. Guesses must be
survivable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator

from paceline.errors import AgentUnknown, Ambiguous, ConfigError, Unavailable
from paceline.model import EndpointClass, Outcome, Rate, RunView, SizeLimits
from paceline.providers.answers import Answer, clean, is_finite
from paceline.providers.base import Accepted, AgentInfo, SubmitRequest, Usage
from paceline.providers.http import Http, HttpPolicy
from paceline.providers.kolena_kind import CAPABILITIES, RATES, SIZE_LIMITS
from paceline.providers.kolena_usage import read_usage
from paceline.providers.multipart import Multipart

log = logging.getLogger(__name__)

T = TypeVar("T")

PREFIX = "/api/v1/client"
PAGE_SIZE = 1000  # the most the service gives [doc]
MAX_PAGES = 200
QUERY_BYTES = 7_500
"""A URL under 8 kB, with room for address and path; most servers and gateways refuse longer ones [guess]."""

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_OUTCOMES = {"success": Outcome.SUCCEEDED, "failed": Outcome.FAILED}
_WORDS = {"running", *_OUTCOMES}  # those of the service; looking at them again costs a fifth of reading a list


def _integer(value: object) -> object:
    """Read a decimal text as the id it is; everything else is left to the model, which takes plain integers only."""
    return int(value) if isinstance(value, str) and _ID.fullmatch(value) else value


def _or_none(value: object, handler: Callable[[object], T]) -> T | None:
    """Take an optional part that makes no sense for one that is missing: it must not hide the run."""
    try:
        return handler(value)
    except ValidationError:
        return None


Id = Annotated[int, Field(ge=0), BeforeValidator(_integer)]
Lenient = WrapValidator(_or_none)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)


class _Run(_Body):
    """A run as the service writes it. Strict in the ids, lenient in everything else."""

    run_id: Id
    agent_id: Id | None = None
    user_defined_id: str | None = None
    status: Annotated[str | None, Lenient] = None
    run_url: Annotated[str | None, Lenient] = None
    order: Annotated[list[Any] | None, Lenient] = None
    data: Annotated[dict[str, Any] | None, Lenient] = None
    usage: Annotated[dict[str, Any] | None, Lenient] = None


class _Page(_Body):
    """One page of a list of runs."""

    runs: list[Any]
    total_pages: Id
    page_number: Id


class _Agent(_Body):
    name: Annotated[str | None, Lenient] = None


class Kolena:
    """Kolena under one key. Thread-safe.

    `before_further_request` is called with the endpoint class before every request of one call but the first: for a
    list that needs several pages, or ids too long for one URL. There it can take a permit, or raise.
    """

    name = "kolena"
    capabilities = CAPABILITIES

    def __init__(
        self,
        base_url: str,
        key: str | Callable[[], str],
        *,
        policy: HttpPolicy | None = None,
        size_limits: SizeLimits = SIZE_LIMITS,
        rates: Mapping[EndpointClass, Rate] = RATES,
        allow_http: bool = False,
        before_further_request: Callable[[EndpointClass], None] = lambda _: None,
    ) -> None:
        self._http = Http(base_url, key, policy, allow_http=allow_http)
        self.size_limits = size_limits
        self.rates = {**RATES, **rates}
        self._before_further_request = before_further_request

    def __repr__(self) -> str:
        return f"Kolena({self._http!r})"

    def submit(self, request: SubmitRequest) -> Accepted:
        """Upload the files and start a run; see `Provider.submit`."""
        fields = [("user_defined_id", request.external_id)]
        if request.due is not None and not request.wait_s:  # the form of add-and-wait has no such field [doc]
            fields.append(("due_date", request.due.isoformat()))
        body = Multipart(fields, request.uploads)
        waits = request.wait_s > 0
        answer = self._http.post(
            _agent_path(request.agent) + ("/runs/wait" if waits else "/runs"),
            params=[("timeout", str(request.wait_s))] if waits else (),
            body=body,
            content_type=body.content_type,
            deadline_s=request.deadline_s + request.wait_s,
            gate=request.gate,
            waits_s=request.wait_s,
        )
        run = _accepted_run(answer.value, request, answer.status)
        return Accepted(_view(run), body.digests)

    def ask(self, agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        """Ask after runs with one list call; see `Provider.ask`. An entry that names no run is left out."""
        found = {}
        asked = set(run_ids)
        for raw in self._list(agent, "run_ids", [run_id for run_id in run_ids if _ID.fullmatch(run_id)]):
            try:
                run = _Run.model_validate(raw)
            except ValidationError:
                log.warning("kolena.run_unreadable", extra={"agent": agent})
                continue
            if str(run.run_id) in asked and _is_agents(run, agent):
                found[str(run.run_id)] = _view(run)
        return found

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        """List the runs under our ids; see `Provider.find`. One entry that can't be read spoils the whole list."""
        found = []
        asked = set(external_ids)
        for raw in self._list(agent, "user_defined_ids", external_ids):
            run = _read(_Run, raw)
            if run.user_defined_id not in asked:
                continue
            if not _is_agents(run, agent):
                raise Unavailable("the list names runs of another agent")
            found.append(_view(run))
        return found

    def get(self, agent: str, run_id: str) -> RunView | None:
        """Look one run up; None if the service says that it has no such run (or no such agent: it is the same 404)."""
        answer = self._http.get(_run_path(agent, run_id))
        if answer.status == 404:
            _check_spoken(answer)
            return None
        run = _read(_Run, answer.value)
        if str(run.run_id) != run_id:
            raise Unavailable("the provider answered with another run")
        return _view(run)

    def describe_agent(self, agent: str) -> AgentInfo:
        """Look the agent up; see `Provider.describe_agent`."""
        answer = self._http.get(_agent_path(agent))
        if answer.status == 404:
            _check_spoken(answer)
            raise _unknown(agent, 404)
        name = _read(_Agent, answer.value).name
        return AgentInfo(agent, clean(name) if name else None)

    def settle(self, agent: AgentInfo, inputs: Mapping[str, str]) -> Mapping[str, str]:
        """Refuse further inputs: the API has none; see `Provider.settle`."""
        if inputs:
            raise ConfigError(f"Kolena's agents take files only; leave out --input {next(iter(inputs))}")
        return {}

    def usage(self, agent: str, since: datetime) -> Usage | None:
        """Add up the credit records of an agent; see `Provider.usage`."""
        further = partial(self._before_further_request, EndpointClass.LIST)
        return read_usage(self._http, f"{PREFIX}/usage", agent, since, further)

    def delete(self, agent: str, run_id: str) -> None:
        """Delete a run, which is the nearest thing to cancelling it; one that is gone is success."""
        self._http.delete(_run_path(agent, run_id))

    def close(self) -> None:
        """Close kept connections."""
        self._http.close()

    def _list(self, agent: str, name: str, ids: Sequence[str]) -> Iterator[Any]:
        """Give every entry of the lists for these ids, as raw JSON: complete lists or `Unavailable`."""
        # Without an id the filter would be gone and everything be listed: then there are no groups, and no request.
        for number, group in enumerate(_groups(name, sorted(set(ids)))):
            if number:
                self._before_further_request(EndpointClass.LIST)
            yield from self._pages(agent, group)

    def _pages(self, agent: str, filters: Sequence[tuple[str, str]]) -> Iterator[Any]:
        seen: set[str] = set()
        pages = 1
        number = 0
        while number < pages:
            if number:
                self._before_further_request(EndpointClass.LIST)
            page = self._page(agent, filters, number)
            if number == 0:
                pages = page.total_pages
            _check_page(page, number, pages, seen)
            yield from page.runs
            number += 1

    def _page(self, agent: str, filters: Sequence[tuple[str, str]], number: int) -> _Page:
        params = [("page_number", str(number)), ("page_size", str(PAGE_SIZE)), *filters]
        answer = self._http.get(_agent_path(agent) + "/runs", params)
        if answer.status == 404:
            _check_spoken(answer)
            raise _unknown(agent, 404)
        return _read(_Page, answer.value)


def _agent_path(agent: str) -> str:
    """Return the agent's path. Raises `AgentUnknown` for what can't be an agent of this service."""
    if not _ID.fullmatch(agent):
        raise _unknown(agent, None)
    return f"{PREFIX}/agents/{agent}"


def _run_path(agent: str, run_id: str) -> str:
    return f"{_agent_path(agent)}/runs/{quote(run_id, safe='')}"


def _check_spoken(answer: Answer) -> None:
    """Raise `Unavailable` for a 404 that isn't the service's own: it speaks JSON, gateways speak HTML."""
    if not isinstance(answer.value, dict):
        raise Unavailable("something in between answers 404", http_status=answer.status)


def _unknown(agent: str, status: int | None) -> AgentUnknown:
    return AgentUnknown(f"Kolena has no agent {clean(agent)!r} for this key; agents are numbers", http_status=status)


def _groups(name: str, ids: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Cut ids into groups that fit one URL, each as the repeated parameter `name`."""
    group: list[tuple[str, str]] = []
    size = 0
    for one in ids:
        length = len(name) + 2 + len(quote_plus(one))
        if group and size + length > QUERY_BYTES:
            yield group
            group, size = [], 0
        group.append((name, one))
        size += length
    if group:
        yield group


def _check_page(page: _Page, number: int, pages: int, seen: set[str]) -> None:
    """Raise `Unavailable` unless this page continues the list of which the runs in `seen` are the pages so far."""
    ids = [str(raw["run_id"]) for raw in page.runs if isinstance(raw, dict) and raw.get("run_id") is not None]
    if (page.page_number, page.total_pages) != (number, pages):
        raise Unavailable("the list changed between its pages")
    if pages > MAX_PAGES:
        raise Unavailable(f"the list has {pages} pages")
    if page.runs and pages == 0:
        raise Unavailable("the list has runs but no pages")
    if len(set(ids)) != len(ids) or not seen.isdisjoint(ids):
        raise Unavailable("the list names a run twice")
    seen.update(ids)


B = TypeVar("B", bound=_Body)


def _read(model: type[B], value: object) -> B:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Unavailable("the provider's answer makes no sense") from error


def _accepted_run(value: object, request: SubmitRequest, status: int) -> _Run:
    """Return the run that an add's answer shows. Raises `Ambiguous` unless it has an id and can be our submission's."""
    try:
        run = _Run.model_validate(value)
    except ValidationError as error:
        text = "the provider's answer names no run"
        raise Ambiguous(text, http_status=status, body_sent=True) from error
    if run.user_defined_id not in (None, request.external_id) or not _is_agents(run, request.agent):
        raise Ambiguous("the provider answered with another run", http_status=status, body_sent=True)
    return run


def _is_agents(run: _Run, agent: str) -> bool:
    return run.agent_id is None or run.agent_id == int(agent)


def _view(run: _Run) -> RunView:
    """Translate a run. A status word that nobody knows means: not finished, ask again."""
    status = run.status or ""
    outcome = _OUTCOMES.get(status)
    data = _results(run)
    used = (run.usage or {}).get("credits_used")
    url = run.run_url or ""
    return RunView(
        run_id=str(run.run_id),
        external_id=run.user_defined_id,
        raw_status=status if status in _WORDS else clean(status),
        outcome=outcome,
        run_url=url if re.match(r"https?://", url) and url.isprintable() else None,
        credits=float(used) if used is not None and is_finite(used) else None,
        error_message=_error_message(data) if outcome is Outcome.FAILED else None,
        data=data,
        credits_by=_credits_by(run.data or {}),
        partial=any(isinstance(name, str) and name not in data for name in run.order or ()),
    )


def _results(run: _Run) -> dict[str, Any]:
    """Return `{prompt: {status, value, error, metadata}}`: in `order`, then the prompts it doesn't name."""
    data = run.data or {}
    order = [name for name in run.order or () if isinstance(name, str) and name in data]
    names = dict.fromkeys([*order, *data])
    return {name: _result(data[name]) for name in names}


def _result(raw: object) -> dict[str, Any]:
    found = raw if isinstance(raw, dict) else {"value": raw}
    return {key: found.get(key) for key in ("status", "value", "error", "metadata")}


def _credits_by(data: Mapping[str, Any]) -> dict[str, float]:
    """Return what each prompt has used, as far as the answer says."""
    found = {}
    for name, result in data.items():
        usage = result.get("usage") if isinstance(result, dict) else None
        used = usage.get("credits_used") if isinstance(usage, dict) else None
        if used is not None and is_finite(used):
            found[name] = float(used)
    return found


def _error_message(data: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Join the prompts' errors: there is no error text of the run's own."""
    errors = [f"{name}: {result['error']}" for name, result in data.items() if result["error"]]
    return clean("; ".join(errors)) or None
