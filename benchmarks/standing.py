"""A fleet that `paceline up` started, with several accounts at one sandbox, and somebody who kills its workers."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from benchmarks.product import ProductFailed
from tests.soak.processes import kill, named
from tests.support.command import FAST, Paceline
from tests.support.sandbox import Sandbox


class Standing:
    """``with Standing(folder, sandbox, ["a1", "a2"], "40/60s", workers=4, threads=8) as standing``.

    `keys` has each account's key. Further settings are variables by name.
    """

    def __init__(
        self,
        folder: Path,
        sandbox: Sandbox,
        accounts: Sequence[str],
        rate: str,
        *,
        workers: int,
        threads: int,
        **variables: str,
    ) -> None:
        self.keys = {name: f"{name}-{secrets.token_hex(16)}" for name in accounts}
        self._workers = workers
        self._paceline = Paceline(folder)
        for name in FAST:  # a test's waiting times; here they are what people have
            del self._paceline.environment[name]
        self._paceline.environment |= {"PACELINE_UPLOAD_THREADS": str(threads), **variables}
        for name, key in self.keys.items():
            prefix = f"PACELINE_ACCOUNTS__{name.upper()}"
            self._paceline.environment |= {
                f"{prefix}__PROVIDER": "kolena",
                f"{prefix}__URL": sandbox.url,
                f"{prefix}__LIMITS__ADD": rate,
                f"{name.upper()}_API_KEY": key,
            }

    def __enter__(self) -> Standing:
        self._paceline.__enter__()
        self._do("up", "--workers", str(self._workers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._paceline.__exit__(kind, error, traceback)

    def run(self, source: Path, *, timeout_s: float) -> None:
        """Send a folder on every account at once, and return when all is complete. Raises `ProductFailed`."""
        with ThreadPoolExecutor(len(self.keys)) as pool:
            batches = list(pool.map(lambda name: self._submit(name, source), self.keys))
        for batch in batches:
            self._do("status", batch, "--watch", "--json", timeout_s=timeout_s)

    def _submit(self, account: str, source: Path) -> str:
        to = f"out-{account}"
        arguments = (str(source), "--agent", f"{account}:1", "--to", to, "--files-per-run", "1", "--json")
        batch: str = json.loads(self._do("submit", *arguments))["batch"]
        return batch

    def _do(self, *arguments: str, timeout_s: float = 120.0) -> str:
        result = self._paceline(*arguments, timeout_s=timeout_s)
        if result.code != 0:
            raise ProductFailed(f"paceline {arguments[0]}: exit code {result.code}: {result.stderr[-1500:]}")
        return result.stdout

    @contextmanager
    def killing(self, every_s: float) -> Iterator[list[int]]:
        """Kill the upload processes in turn, one every `every_s`; yields a list that fills with their process ids."""
        over, killed = threading.Event(), list[int]()

        def hunt() -> None:
            for number in itertools.cycle(range(1, self._workers + 1)):
                if over.wait(every_s):
                    return
                pid = named(self._paceline.home).get(f"worker-{number}")
                if pid is not None and kill([pid]):
                    killed.append(pid)

        thread = threading.Thread(target=hunt, name="hunt")
        thread.start()
        try:
            yield killed
        finally:
            over.set()
            thread.join()
