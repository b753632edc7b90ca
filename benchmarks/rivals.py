"""What people write in an afternoon: the same requests by a short script, as a fair comparison in the same run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from kolena_agents import Client  # type: ignore[import-untyped]  # the vendor ships no types
from kolena_agents.types.exceptions import ApiException  # type: ignore[import-untyped]

_NO_RETRY_AFTER_S = 1.0


async def semaphore_script(url: str, key: str, files: Sequence[Path], at_once: int) -> None:
    """Send every file as a run, `at_once` at a time, one client for all; a 429 is repeated after its Retry-After."""
    turn = asyncio.Semaphore(at_once)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:

        async def send(path: Path) -> None:
            async with turn:
                while True:
                    answer = await client.post(
                        "/api/v1/client/agents/1/runs",
                        data={"user_defined_id": path.name},
                        files={"files": (path.name, path.read_bytes())},
                    )
                    if answer.status_code != 429:
                        answer.raise_for_status()
                        return
                    await asyncio.sleep(float(answer.headers.get("Retry-After", _NO_RETRY_AFTER_S)))

        await asyncio.gather(*(send(path) for path in files))


def vendor_pool(url: str, key: str, files: Sequence[Path], at_once: int) -> int:
    """Send every file as a run with the vendor's client, `at_once` threads sharing one; return how many it gave up.

    As the README of `kolena-agents` calls it. Its own retries are on, as they are by default: three of a request that
    was answered 429, each after its Retry-After.
    """
    client = Client(api_key=key, host=url)

    def send(path: Path) -> bool:
        try:
            client.agent_run.add(1, files=[str(path)], user_defined_id=path.name)
        except ApiException as error:
            if error.status != 429:
                raise
            return False
        return True

    with ThreadPoolExecutor(at_once) as pool:
        return sum(not sent for sent in pool.map(send, files))


def bare_loop(url: str, key: str, files: Sequence[Path], threads: int) -> float:
    """Post every file with kept connections and nothing else, in threads; return runs per second."""
    headers = {"Authorization": f"Bearer {key}"}
    local = threading.local()
    clients: list[httpx.Client] = []

    def send(path: Path) -> None:
        if not hasattr(local, "client"):
            local.client = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
            clients.append(local.client)
        answer = local.client.post(
            "/api/v1/client/agents/1/runs",
            data={"user_defined_id": path.name},
            files={"files": (path.name, path.read_bytes())},
        )
        answer.raise_for_status()

    begun = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(send, files):
            assert done is None
    seconds = time.monotonic() - begun
    for client in clients:
        client.close()
    return len(files) / seconds
