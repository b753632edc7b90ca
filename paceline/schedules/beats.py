"""Signs of life of the processes that send ticks."""

from __future__ import annotations

from typing import Any

from redis import Redis

from paceline import redis_keys as keys


def note_beat(redis: Redis, name: str, now_ms: int, ttl_s: float) -> None:
    """Tell that `name` sends ticks, and will tell so again within `ttl_s`."""
    with redis.pipeline() as pipe:
        pipe.zadd(keys.BEATS, {name: now_ms + round(ttl_s * 1000)})
        pipe.zremrangebyscore(keys.BEATS, "-inf", now_ms)
        pipe.execute()


def end_beat(redis: Redis, name: str) -> None:
    """Take a sign of life back."""
    redis.zrem(keys.BEATS, name)


def live_beats(redis: Any, now_ms: int) -> list[str]:
    """Return who sends ticks: `host:pid@machine`, as workers are named."""
    return sorted(name.decode() for name in redis.zrange(keys.BEATS, f"({now_ms}", "+inf", byscore=True))
