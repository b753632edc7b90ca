"""The scanner that finds nothing elsewhere finds a secret planted in each kind of place."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.canary import Canary, CommandWatch, RedisWatch
from tests.support.command import wait_for

SECRET = 'sk-canary/9f27"ac\\5d+1f&0c7e-8b'
canary = Canary(SECRET)

WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda raw: raw,
    "reversed": lambda raw: raw[::-1],
    "in hex": lambda raw: raw.hex().encode(),
    "in a URL": lambda raw: quote(raw, safe="").encode(),
    "in JSON": lambda raw: json.dumps({"a": raw.decode()}).encode(),
    "in JSON in JSON": lambda raw: json.dumps(json.dumps({"a": raw.decode()})).encode(),
    "in base64": base64.b64encode,
    "in base64, second place": lambda raw: base64.b64encode(b"x" + raw),
    "in base64, third place": lambda raw: base64.b64encode(b"xy" + raw + b"z"),
    "in base64 for URLs": lambda raw: base64.urlsafe_b64encode(b"user:" + raw),
    "in zlib": lambda raw: zlib.compress(b"files " * 100 + raw),
    "in gzip behind a head": lambda raw: b"$123\r\n" + gzip.compress(b"x" * 99 + raw) + b"\r\n*3",
    "in a Celery message": lambda raw: json.dumps(
        {"body": base64.b64encode(json.dumps([[raw.decode()], {}]).encode()).decode(), "headers": {}}
    ).encode(),
    "in a packed Celery message": lambda raw: json.dumps(
        {"body": base64.b64encode(zlib.compress(json.dumps([[raw.decode()]]).encode())).decode()}
    ).encode(),
    "cut off": lambda raw: raw[: len(raw) // 2 + 1],
    "without its beginning": lambda raw: raw[len(raw) // 2 - 1 :],
}


@pytest.mark.parametrize("way", WRITTEN)
def test_a_secret_is_found_however_it_is_written(way: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_bytes(b"before " * 9 + WRITTEN[way](SECRET.encode()) + b" after" * 9)

    assert canary.in_folder(tmp_path)


def test_something_else_is_not_taken_for_it(tmp_path: Path) -> None:
    other = 'sk-parrot/1111"22\\33+44&5555-66'
    for number, write in enumerate(WRITTEN.values()):
        (tmp_path / str(number)).write_bytes(write(other.encode()))

    assert canary.in_folder(tmp_path) == []


def test_a_secret_in_a_files_name_is_found(tmp_path: Path) -> None:
    (tmp_path / quote(SECRET, safe="")).touch()

    assert canary.in_folder(tmp_path)


PLANTS: dict[str, Callable[[Any], object]] = {
    "a key": lambda client: client.set(f"pl:test:{SECRET}", 1),
    "a string": lambda client: client.set("pl:test:x", zlib.compress(SECRET.encode())),
    "a field": lambda client: client.hset("pl:test:x", SECRET, 1),
    "a value": lambda client: client.hset("pl:test:x", "error", f"Bearer {SECRET}"),
    "a list": lambda client: client.rpush("pl:test:x", WRITTEN["in a Celery message"](SECRET.encode())),
    "a set": lambda client: client.sadd("pl:test:x", SECRET),
    "a sorted set": lambda client: client.zadd("pl:test:x", {SECRET: 1}),
    "a stream": lambda client: client.xadd("pl:test:x", {"reason": SECRET}),
}


@pytest.mark.parametrize("place", PLANTS)
def test_a_secret_is_found_in_every_kind_of_place_of_a_redis(real_redis: Any, place: str) -> None:
    assert canary.in_redis(real_redis) == []

    PLANTS[place](real_redis)

    assert canary.in_redis(real_redis)


def test_a_message_that_is_gone_at_once_was_seen(real_redis: Any, server: Path) -> None:
    with RedisWatch(f"unix://{server}") as watch:
        real_redis.rpush("pl:test:queue", zlib.compress(SECRET.encode()), SECRET)
        real_redis.delete("pl:test:queue")
        wait_for(lambda: b"DEL" in watch.record.upper(), "the record")

        assert canary.in_bytes(watch.record, "messages")
        plain = watch.record.replace(SECRET.encode(), b"")
        assert canary.in_bytes(plain, "packed messages")


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads command lines from /proc")
def test_a_short_lived_process_is_caught() -> None:
    with CommandWatch() as watch:
        for _ in range(3):
            subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)", SECRET], check=True)

    assert canary.in_bytes(b"\n".join(watch.lines), "command lines")
