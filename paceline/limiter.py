"""The pace: who may send a request now, decided for all workers together on Redis time.

A sliding-window log (`lua/pace.lua`): a permit is granted while fewer than `limit` were granted in the last
`window + life + margin`. Since a permit is used within its life or not at all, no window at the provider ever holds
more than `limit` requests, whatever the workers do. An answer ends its permit's life (`lua/accepted.lua`): whoever has
answered had counted the request by then. So against a sliding window no client can be faster by more than
margin / window, 0.2 % of a minute, where answers come at once, and (life + margin) / window, 1.8 %, where they don't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.clocks import boottime, clock_id
from paceline.model import EndpointClass, Rate
from paceline.scripts import Arg, Scripts


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """How permits are granted. Every process on one Redis must use the same.

    `durable` says that the Redis server loses nothing when it restarts (`appendfsync always`); where it may, a restart
    blocks every class for one window. `watch_clock` compares Redis time with this machine's, to notice either jump.
    """

    permit_life_s: float = 1.0
    margin_s: float = 0.1
    retry_after_longest_s: float = 3600.0
    backoff_longest_s: float = 60.0
    durable: bool = False
    watch_clock: bool = True

    def life_s(self, rate: Rate) -> float:
        """Return how old a permit may be at the first byte: a tenth of a short window, so that tests can scale time."""
        return min(self.permit_life_s, rate.window_s / 10)

    def window_ms(self, rate: Rate) -> int:
        """Return the window of the log, in milliseconds."""
        margin_s = min(self.margin_s, rate.window_s / 20)
        return round((rate.window_s + self.life_s(rate) + margin_s) * 1000)

    def least_window_s(self, rate: Rate) -> float:
        """Return how long a permit counts, in seconds, if its request is answered at once."""
        return self.window_ms(rate) / 1000 - self.life_s(rate)

    def args(self, rate: Rate) -> list[Arg]:
        """Return what `pace_args` in `lua/pace.lua` reads."""
        return [
            rate.limit,
            self.window_ms(rate),
            int(self.durable),
            clock_id() if self.watch_clock else "",
            round(boottime() * 1000),
        ]


@dataclass(frozen=True, slots=True)
class PaceView:
    """How one endpoint class of one account stands.

    `used` permits were granted in the last window; `learned` is the lower limit that refusals taught, None where none
    did; `closed_s` is how long the class stays closed, 0 where it is open, `closed_why` why.
    """

    rate: Rate
    used: int
    used_last_minute: int
    learned: int | None
    closed_s: float
    closed_why: str | None
    next_free_s: float


class Limiter:
    """Permits that need no intent, and the closing of endpoint classes. Those with an intent come from the ledger."""

    def __init__(self, redis: Redis, scripts: Scripts, policy: PacePolicy) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts
        self.policy = policy

    def take(self, account: str, endpoint: EndpointClass, rate: Rate) -> float:
        """Take one permit, valid for `policy.life_s(rate)`. Return 0, or the seconds to wait without having one."""
        row = self._scripts.run("permit", self._keys(account, endpoint), self.policy.args(rate))
        return 0.0 if row[0] else int(row[1]) / 1000

    def close(self, account: str, endpoint: EndpointClass, rate: Rate, *, seconds: float | None, why: str) -> float:
        """Close a class for everybody; None backs off 1, 2, 4 … s by strikes in a row.

        `why` is `throttled` (lowers the learned limit) or `unreachable`. Returns how long the class stays closed.
        """
        stay: Arg = ""
        if seconds is not None:
            stay = round(min(max(seconds, 0.0), self.policy.retry_after_longest_s) * 1000)
        args: list[Arg] = [stay, why, int(why == "throttled"), rate.limit, self.policy.window_ms(rate)]
        args.append(round(self.policy.backoff_longest_s * 1000))
        return int(self._scripts.run("close_class", self._keys(account, endpoint), args)) / 1000

    def view(self, account: str, endpoint: EndpointClass, rate: Rate) -> PaceView:
        """Show how a class stands. Reads only."""
        log, state_key = self._keys(account, endpoint)
        seconds, micros = self._redis.time()
        now = seconds * 1000 + micros // 1000
        window = self.policy.window_ms(rate)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.zcount(log, now - window, "+inf")
            pipe.zcount(log, now - 60_000, "+inf")
            pipe.hgetall(state_key)
            pipe.zrange(log, -rate.limit, -rate.limit, withscores=True)
            used, minute, raw, oldest = pipe.execute()
        return parse_pace(rate, window, now, used=used, used_last_minute=minute, raw=raw, oldest=oldest)

    @staticmethod
    def _keys(account: str, endpoint: EndpointClass) -> list[str]:
        return [keys.pace_log(account, endpoint), keys.pace_state(account, endpoint)]


def parse_hour(raw: Mapping[bytes, bytes], now_ms: int) -> tuple[int, ...]:
    """Return how many permits were granted in each of the last 60 minutes of the clock, by a class's state.

    The oldest comes first, the last one is the minute under way.
    """
    this = now_ms // 60_000
    return tuple(int(raw.get(b"m:%d" % minute, b"0")) for minute in range(this - 59, this + 1))


def parse_pace(
    rate: Rate,
    window_ms: int,
    now_ms: int,
    *,
    used: int,
    used_last_minute: int,
    raw: Mapping[bytes, bytes],
    oldest: Sequence[tuple[bytes, float]],
) -> PaceView:
    """Read a class's state hash (`raw`). `oldest`: the permit that has to leave the window first, if any."""
    closed = max(float(raw.get(b"closed_until", b"0")) - now_ms, 0.0) / 1000
    why = raw.get(b"closed_why")
    learned = raw.get(b"learned")
    next_free = closed
    if used >= rate.limit and oldest:
        next_free = max(closed, (oldest[0][1] + window_ms - now_ms) / 1000)
    return PaceView(
        rate=rate,
        used=int(used),
        used_last_minute=int(used_last_minute),
        learned=_recovered(float(learned), float(raw[b"learned_ms"]), now_ms, window_ms, rate) if learned else None,
        closed_s=closed,
        closed_why=why.decode() if why and closed else None,
        next_free_s=max(next_free, 0.0),
    )


def _recovered(learned: float, learned_ms: float, now_ms: int, window_ms: int, rate: Rate) -> int | None:
    """Return what `limit_now` in `lua/pace.lua` makes of a learned limit by now; None once it has recovered."""
    windows = max(int((now_ms - learned_ms) // window_ms), 0)
    recovered = int(learned) + windows * max(1, rate.limit // 20)
    return recovered if recovered < rate.limit else None
