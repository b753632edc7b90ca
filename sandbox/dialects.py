"""How each provider speaks: where a request carries its key, whom it is about, and what an error looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.agent import to_json
from sandbox.answers import Answer, Headers, Say, detail, phrase

if TYPE_CHECKING:
    from sandbox.world import World


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's manners.

    ``say`` makes an error of a status and a text; ``key_of`` finds the API key in the headers, "" for none;
    ``agent_of`` finds the agent in what the path names, None where the path doesn't tell.
    """

    say: Say
    key_of: Callable[[Mapping[bytes, bytes]], str]
    agent_of: Callable[[World, Mapping[str, str]], int | str | None]


def flat(status: int, text: str, headers: Headers = ()) -> Answer:
    """Answer ``{"error": label, "message": text}``, Kindo's form; a 413 comes from its gateway, which has no label."""
    if status == 413:
        return Answer(status, to_json({"message": text}), headers=headers)
    label = "Not found" if status == 404 else phrase(status).decode()
    return Answer(status, to_json({"error": label, "message": text}), headers=headers)


def bearer(headers: Mapping[bytes, bytes]) -> str:
    """Find the key in ``Authorization: Bearer KEY``."""
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def bearer_or_x_api_key(headers: Mapping[bytes, bytes]) -> str:
    """Find the key in ``Authorization: Bearer KEY``, else in ``x-api-key: KEY``."""
    return bearer(headers) or headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _kolena_agent(_: World, parameters: Mapping[str, str]) -> int | None:
    agent = parameters.get("agent_id", "")
    return int(agent) if agent.isascii() and agent.isdigit() and len(agent) < 16 else None


def _kindo_agent(world: World, parameters: Mapping[str, str]) -> str | None:
    if "run_id" in parameters:
        run = world.kindo.get(parameters["run_id"])
        return None if run is None else run.agent_id
    agent = parameters.get("agent_id", "").lower()
    return agent if agent in world.kindo_agents else None


KOLENA = Dialect(detail, bearer, _kolena_agent)
KINDO = Dialect(flat, bearer_or_x_api_key, _kindo_agent)
