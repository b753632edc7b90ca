"""Load the Lua scripts and run them by name.

A script's first line may say `--! with clock ledger pace`: those shared parts are put before it. `clock` is the Redis
server's time, or in simulations a key (`lua/clock_key.lua`). Before everything else stands the fence of `formats.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from paceline.formats import FENCE, as_other_format

Clock = Literal["redis", "key"]
Arg = str | int | float | bytes

_NAMES = (
    "absent",
    "accepted",
    "begin",
    "cancel_batch",
    "chain_claim",
    "chain_next",
    "circuit_answered",
    "circuit_ask",
    "circuit_failed",
    "close_batch",
    "close_class",
    "collect",
    "doubt",
    "exported",
    "finish",
    "forget",
    "free_chains",
    "hint",
    "hold",
    "is_known",
    "isolate",
    "journal_counts",
    "know",
    "listed",
    "night_again",
    "night_claim",
    "night_end",
    "night_note",
    "night_take",
    "night_tell",
    "open_batch",
    "overdue",
    "pause",
    "pause_by_hand",
    "permit",
    "plan",
    "put_back",
    "rebuilt",
    "release",
    "released_again",
    "remove",
    "restore",
    "resubmit",
    "resume",
    "retry",
    "schedule_see",
    "snooze",
    "split",
    "take_due",
    "uncertain",
    "wake_chain",
)


@cache
def source(name: str, clock: Clock = "redis") -> str:
    """Return a script's text with its shared parts before it."""
    folder = files("paceline").joinpath("lua")
    text = folder.joinpath(f"{name}.lua").read_text("utf-8")
    first, _, _ = text.partition("\n")
    parts = first.removeprefix("--! with ").split() if first.startswith("--! with ") else []
    names = [f"clock_{clock}" if part == "clock" else part for part in parts]
    return "\n".join([FENCE, *(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in names), text])


class Scripts:
    """The scripts of one Redis connection. Thread-safe; a script runs atomically or not at all.

    A call is never repeated here: where the connection breaks before the reply, `redis.ConnectionError` or
    `redis.TimeoutError` is raised and the script may or may not have run. Where the ledger is another version's by now,
    nothing is done and `OtherFormat` is raised.
    """

    def __init__(self, redis: Redis, clock: Clock = "redis") -> None:
        self._redis = redis
        self._scripts = {name: redis.register_script(source(name, clock)) for name in _NAMES}

    def run(self, name: str, keys: Sequence[str], args: Sequence[Arg] = ()) -> Any:
        """Run a script; its header says what it returns."""
        try:
            return self._scripts[name](keys=list(keys), args=list(args))
        except ResponseError as error:
            if other := as_other_format(error):
                raise other from error
            raise

    def run_many(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Arg]]]) -> list[Any]:
        """Run a script several times in one round trip, each atomic by itself; return their answers in order."""
        with self._redis.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                self._scripts[name](keys=list(keys), args=list(args), client=pipe)
            try:
                return pipe.execute()
            except ResponseError as error:
                if other := as_other_format(error):
                    raise other from error
                raise
