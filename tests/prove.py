"""Run the whole crash enumeration: `python -m tests.prove`. Prints what it ran; exit 1 if anything doesn't hold."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from config.embedded import EmbeddedServer
from tests.support.quick_redis import QuickRedis
from tests.support.schedules import (
    PUT_BACK,
    SCENARIOS,
    Scenario,
    Schedule,
    crash_pairs,
    effects,
    mixed_pairs,
    put_backs,
    singles,
    some,
    violations,
)

CRASH_PAIRS = {"plain": 1_000_000, "plain, no finding": 1000}
"""Of the first, every pair of crashes; of the others, of other pairs and of old states, a seeded choice."""

CHOSEN = 190
PUT_BACK_CHOSEN = 300


def schedules(scenario: Scenario, number: int, seed: int) -> Iterator[Schedule]:
    """Give a scenario's schedules."""
    if scenario in PUT_BACK:
        return iter(some(put_backs(number), PUT_BACK_CHOSEN, seed))
    crashes = some(crash_pairs(number), CRASH_PAIRS.get(scenario.name, CHOSEN), seed)
    return itertools.chain(singles(number), crashes, some(mixed_pairs(number), CHOSEN, seed))


def prove(share: int, shares: int, seed: int) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Run one share of everything on a server of its own; return effects and schedules by scenario, and violations."""
    logging.disable(logging.CRITICAL)
    ran: dict[str, tuple[int, int]] = {}
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        client = QuickRedis(server.socket_path)
        client.config_set("appendonly", "no")  # nothing is read back here, and nothing need wait for a disk
        for scenario in (*SCENARIOS, *PUT_BACK):
            number = effects(client, scenario)
            done = 0
            for schedule in itertools.islice(schedules(scenario, number, seed), share, None, shares):
                found += violations(client, scenario, schedule)
                done += 1
            ran[scenario.name] = (number, done)
        client.hang_up()
    return ran, found


def main() -> None:
    """Run it all in as many processes as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        shares = [pool.submit(prove, n, options.processes, options.seed) for n in range(options.processes)]
        results = [share.result() for share in shares]
    found = [line for _, lines in results for line in lines]
    for scenario in (*SCENARIOS, *PUT_BACK):
        number = results[0][0][scenario.name][0]
        done = sum(ran[scenario.name][1] for ran, _ in results)
        print(f"{scenario.name:<32} effects={number:<4} schedules={done}")
    for line in found[:50]:
        print(line)
    total = sum(done for ran, _ in results for _, done in ran.values())
    print(f"schedules={total} violations={len(found)} seed={options.seed} seconds={time.monotonic() - began:.0f}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
