"""The faults of a question about one run that are the same for every provider."""

from __future__ import annotations

from sandbox.answers import GATEWAY_PAGE, HTML, Answer
from sandbox.exchange import Exchange


def hidden(exchange: Exchange, run_id: int | str) -> bool:
    """Say whether a fault makes this question find nothing, and count it where only a run's first ones do."""
    if exchange.draws("get_404"):
        return True
    fault, hidden_gets = exchange.fault, exchange.world.hidden_gets
    if fault is None or fault.kind != "unknown_at_first" or hidden_gets[run_id] >= fault.parameters["gets"]:
        return False
    hidden_gets[run_id] += 1
    exchange.strike()
    return True


def delivered(exchange: Exchange, body: bytes) -> Answer:
    """Answer a run's JSON, or what a fault leaves of it."""
    fault = exchange.draws("get_malformed")
    if fault is None:
        return Answer(200, body)
    forms = {
        "truncated": Answer(200, body[: len(body) // 2]),
        "not_an_object": Answer(200, b"[" + body + b"]"),
        "html": Answer(200, GATEWAY_PAGE % (200, b"OK", 200, b"OK"), HTML),
    }
    return forms.get(fault.parameters["how"], Answer(200, b""))
