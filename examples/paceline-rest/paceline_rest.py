"""Agents behind a plain REST API: multipart POST, GET, and a list by external id where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from paceline.errors import AgentUnknown, Ambiguous, ConfigError, Unavailable
from paceline.model import EndpointClass, Outcome, Rate, RunView, SizeLimits
from paceline.providers.answers import Answer, clean
from paceline.providers.base import Accepted, AgentInfo, Capabilities, Provider, SubmitRequest, Usage
from paceline.providers.kinds import Opening, ProviderKind
from paceline.providers.multipart import Multipart

if TYPE_CHECKING:  # every command imports this module, and few need an HTTP client
    from paceline.providers.http import Http

ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
OPTIONS = {  # name → default; set under [accounts.NAME.options]
    "submit_path": "/agents/{agent}/runs",
    "run_path": "/runs/{run}",
    "agent_path": "/agents/{agent}",
    "list_path": "",  # like /runs, asked with ?external_id=…&external_id=…; empty: no run can be found again
    "files_field": "files",
    "external_id_field": "external_id",
    "id_field": "id",
    "status_field": "status",
    "succeeded": "succeeded",
    "failed": "failed",
}
CAPABILITIES = Capabilities(uploads_files=True)  # nothing else: one GET for each run, and no way to delete one


class Rest:
    """One such service under one key; thread-safe, as `Http` is."""

    name = "rest"

    def __init__(self, opening: Opening, http: Http) -> None:
        self._http = http
        self._options = options = opening.options
        self.capabilities = replace(CAPABILITIES, finds_many=50 if options["list_path"] else 0)
        self.size_limits, self.rates = opening.size_limits, opening.rates
        for name, wanted in (("submit_path", "{agent}"), ("run_path", "{run}"), ("agent_path", "{agent}")):
            if not options[name].startswith("/") or wanted not in options[name]:
                raise ConfigError(f"option {name} is {options[name]!r}; it must begin with / and hold {wanted}")

    def submit(self, request: SubmitRequest) -> Accepted:
        fields = [(self._options["external_id_field"], request.external_id)]
        body = Multipart(fields, request.uploads, part=self._options["files_field"])
        path = self._path("submit_path", agent=request.agent)
        answer = self._http.post(  # asks the gate, and raises NotSent only if no byte had left
            path, body=body, content_type=body.content_type, deadline_s=request.deadline_s, gate=request.gate
        )
        run = self._view(answer.value)
        if run is None or run.external_id not in (None, request.external_id):  # something was accepted: what?
            raise Ambiguous("the answer names no run of ours", http_status=answer.status, body_sent=True)
        return Accepted(run, body.digests)

    def ask(self, agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        found = {run_id: self.get(agent, run_id) for run_id in run_ids}
        return {run_id: run for run_id, run in found.items() if run is not None}

    def get(self, agent: str, run_id: str) -> RunView | None:
        answer = self._http.get(self._path("run_path", agent=agent, run=run_id))
        if not _is_there(answer):
            return None
        run = self._view(answer.value)
        if run is None or run.run_id != run_id:
            raise Unavailable("the answer isn't the run that was asked for")
        return run

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        if not self._options["list_path"]:
            raise Unavailable("this service has no list of runs")
        params = [(self._options["external_id_field"], one) for one in external_ids]
        value = self._http.get(self._path("list_path", agent=agent), params).value
        raw = value.get("runs") if isinstance(value, dict) else None
        runs = [self._view(one) for one in raw] if isinstance(raw, list) else [None]
        if None in runs or value.get("total") != len(runs):  # a list with holes would prove a run absent that is there
            raise Unavailable("the list isn't complete")
        return [run for run in runs if run is not None and run.external_id in external_ids]

    def describe_agent(self, agent: str) -> AgentInfo:
        answer = self._http.get(self._path("agent_path", agent=agent))
        if not _is_there(answer):
            raise AgentUnknown(f"the service has no agent {agent}", http_status=404)
        name = answer.value.get("name")
        return AgentInfo(agent, clean(name) if isinstance(name, str) else None)

    def settle(self, agent: AgentInfo, inputs: Mapping[str, str]) -> Mapping[str, str]:
        if inputs:
            raise ConfigError(f"these agents take files only; leave out --input {next(iter(inputs))}")
        return {}

    def usage(self, agent: str, since: datetime) -> Usage | None:
        return None

    def delete(self, agent: str, run_id: str) -> None:
        raise Unavailable("this service can't delete a run")  # never called, as `cancels` says no

    def _path(self, option: str, **ids: str) -> str:
        path = self._options[option]
        for name, one in ids.items():
            path = path.replace("{" + name + "}", quote(one, safe=""))
        return path

    def _view(self, value: Any) -> RunView | None:
        """Translate a run; None for what is none. A status that nobody knows means: not finished, ask again."""
        run = value if isinstance(value, dict) else {}
        run_id, external = run.get(self._options["id_field"]), run.get(self._options["external_id_field"])
        status, error, result = str(run.get(self._options["status_field"])), run.get("error"), run.get("result")
        if not isinstance(run_id, str) or not re.fullmatch(ID, run_id) or not isinstance(external, str | None):
            return None
        ends = {self._options["succeeded"]: Outcome.SUCCEEDED, self._options["failed"]: Outcome.FAILED}
        data = result if isinstance(result, dict) else {} if result is None else {"result": result}
        message = clean(error) if isinstance(error, str) else None
        return RunView(run_id, external, clean(status), ends.get(status), error_message=message, data=data)


def _is_there(answer: Answer) -> bool:
    """Tell whether the service shows the thing, or says in its own words that it hasn't it; gateways speak HTML."""
    if not isinstance(answer.value, dict):
        raise Unavailable("the answer isn't the service's own", http_status=answer.status)
    return answer.status != 404


def _open(opening: Opening) -> Provider:
    from paceline.providers.http import Http

    return Rest(opening, Http(opening.url, opening.key, opening.policy))


KIND = ProviderKind(
    name="rest",
    url="",  # every account has its own
    capabilities=CAPABILITIES,
    size_limits=SizeLimits(files=100, file_bytes=100_000_000),
    rates={endpoint: Rate(60, 60.0) for endpoint in EndpointClass},
    agent_id=ID,
    agent_example="42",
    run_id=ID,
    open=_open,
    options=OPTIONS,
)
