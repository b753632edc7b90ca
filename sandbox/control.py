"""The sandbox's own endpoints under /_sandbox: JSON, no key, no limits, for this machine only."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.arrivals import fingerprint
from sandbox.facts import FileReader
from sandbox.faults import fault_from, parse_spec
from sandbox.limits import Limit, known_class
from sandbox.runs import Run
from sandbox.stats import stats
from sandbox.waiting import reached
from sandbox.world import World

PREFIX = "/_sandbox"

Form = Mapping[str, Any]


class Control:
    """Answers the control endpoints of one world; each method's docstring gives its JSON."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def log(self, request: Request) -> dict[str, Any]:
        """``GET log?since=SEQ&count=N&files=0`` → ``{"entries": [arrival], "last": seq}``, oldest first.

        Requests still open are there too. ``files=0`` leaves out what uploads contained.
        """
        query = request.query_params
        since = int(query.get("since", "0"))
        entries = self.world.log.since(since, int(query["count"]) if "count" in query else None)
        shown = [entry.to_dict(files=query.get("files") != "0") for entry in entries]
        return {"entries": shown, "last": shown[-1]["seq"] if shown else since}

    async def stats(self, request: Request) -> dict[str, Any]:
        """``GET stats`` → see ``sandbox.stats``."""
        return stats(self.world)

    async def wait(self, request: Request) -> dict[str, Any]:
        """``GET wait?event=accepted&count=5&timeout=10`` → ``{"reached": bool, "value": n}``: ``sandbox.waiting``."""
        return await reached(self.world, dict(request.query_params))

    async def faults(self, request: Request) -> dict[str, Any]:
        """``GET faults`` → ``{"faults": [fault]}``."""
        return {"faults": [fault.to_dict() for fault in self.world.faults.in_force()]}

    async def add_faults(self, request: Request) -> dict[str, Any]:
        """``POST faults`` with a fault's JSON, ``{"spec": "KIND@CLASS:…"}``, or ``{"faults": [either]}``.

        → ``{"faults": [fault]}``, those added. None is added if one can't be understood.
        """
        body = await form_of(request)
        forms = [parse_spec(form["spec"]) if "spec" in form else form for form in body.get("faults", [body])]
        for form in forms:
            fault_from(form, 0)
        return {"faults": [self.world.faults.add(form).to_dict() for form in forms]}

    async def clear_faults(self, request: Request) -> dict[str, Any]:
        """``DELETE faults?id=N`` or ``?kind=WORD``, all of them without either → ``{"cleared": n}``."""
        id_, kind = request.query_params.get("id"), request.query_params.get("kind")
        return {"cleared": self.world.faults.clear(None if id_ is None else int(id_), kind)}

    async def limits(self, request: Request) -> dict[str, Any]:
        """``POST limits`` with ``{CLASS: "600/60s" | null (unlimited), "retry_after"?, "refused_count"?}``.

        → ``{"limits": {class: "600/60s"}}``. A class named here starts with an empty window.
        """
        body = dict(await form_of(request))
        self.world.retry_after = str(body.pop("retry_after", self.world.retry_after))
        self.world.limiter.refused_count = bool(body.pop("refused_count", self.world.limiter.refused_count))
        limits = {known_class(name): None if text is None else Limit.parse(text) for name, text in body.items()}
        for request_class, limit in limits.items():
            self.world.limiter.set(request_class, limit)
        return {"limits": {name: str(limit) for name, limit in self.world.limiter.limits.items()}}

    async def runs(self, request: Request) -> dict[str, Any]:
        """``POST runs`` with any of ``{"seconds": "2-8", "finish": "all" | [run_id], "create": {…}}``.

        ``create`` is ``{"agent"?: 1, "external_id"?: str, "prefix"?: str, "count"?: 1, "files"?: {name: text}}``: runs
        that nobody asked for; with ``prefix`` their external ids are prefix0, prefix1, …
        → ``{"seconds": [low, high], "finished": n, "created": [run_id]}``.
        """
        body = await form_of(request)
        if "seconds" in body:
            self.world.set_run_seconds(str(body["seconds"]))
        finished = 0
        if "finish" in body:
            wanted = body["finish"]
            chosen = [run for run in self.world.all_runs() if wanted == "all" or run.run_id in wanted]
            finished = self.world.finish_runs(chosen)
        created = [run.run_id for run in self._created(body["create"])] if "create" in body else []
        seconds = self.world.run_seconds
        return {"seconds": [seconds.low_s, seconds.high_s], "finished": finished, "created": created}

    async def keys(self, request: Request) -> dict[str, Any]:
        """``POST keys`` with any of ``{"revoke": KEY | "all", "status"?: 401 | 403}``, ``{"restore": KEY | "all"}``,
        ``{"accept": [KEY] | null}``.

        → what the ring holds, by fingerprint: keys themselves are never shown.
        """
        body = await form_of(request)
        ring = self.world.keys
        if "restore" in body:
            ring.restore(_fingerprint(body["restore"]))
        if "accept" in body:
            accepted = body["accept"]
            ring.accept_only(None if accepted is None else frozenset(fingerprint(str(key)) for key in accepted))
        if "revoke" in body:
            ring.revoke(_fingerprint(body["revoke"]), int(body.get("status", 401)))
        return ring.to_dict()

    async def reset(self, request: Request) -> dict[str, Any]:
        """``POST reset`` → ``{}``: as freshly started, but run ids and log numbers go on."""
        self.world.reset()
        return {}

    def _created(self, form: Form) -> list[Run]:
        files = []
        for name, text in form.get("files", {"synthetic.txt": "made by the sandbox\n"}).items():
            reader = FileReader(name)
            if text:
                reader.feed(text.encode())
            files.append(reader.facts())
        agent_id = int(form.get("agent", 1))
        if agent_id not in self.world.agents:
            raise ValueError(f"there is no agent {agent_id}")
        prefix = form.get("prefix")
        return [
            self.world.accept(agent_id, form.get("external_id") if prefix is None else f"{prefix}{index}", files)
            for index in range(int(form.get("count", 1)))
        ]


def routes(world: World) -> list[Route]:
    """Give the control endpoints."""
    control = Control(world)
    table: list[tuple[str, str, Callable[[Request], Awaitable[dict[str, Any]]]]] = [
        ("GET", "log", control.log),
        ("GET", "stats", control.stats),
        ("GET", "wait", control.wait),
        ("GET", "faults", control.faults),
        ("POST", "faults", control.add_faults),
        ("DELETE", "faults", control.clear_faults),
        ("POST", "limits", control.limits),
        ("POST", "runs", control.runs),
        ("POST", "keys", control.keys),
        ("POST", "reset", control.reset),
    ]
    return [Route(f"{PREFIX}/{path}", answered(handler), methods=[method]) for method, path, handler in table]


def answered(handler: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer a control endpoint: to this machine only, and 400 with the reason for what makes no sense."""

    async def endpoint(request: Request) -> Response:
        host = request.client.host if request.client else ""
        if not ipaddress.ip_address(host or "0.0.0.0").is_loopback:  # noqa: S104 - stands for "unknown"
            return JSONResponse({"error": "only from this machine"}, 403)
        try:
            return JSONResponse(await handler(request))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return endpoint


async def form_of(request: Request) -> Form:
    """Read a JSON object from the body."""
    body = json.loads(await request.body() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def _fingerprint(key: object) -> str | None:
    return None if key == "all" else fingerprint(str(key))
