"""Carry a verb several times in one process, so that its work can be told from the start of Python and the imports.

    python -m benchmarks.verb_again TIMES VERB [ARGUMENT …]

Prints a line `wall_s cpu_s` for each time but the first, which imports what the verb needs.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout

from cli.main import cli


def ask(environment: Mapping[str, str], times: int, *verb: str) -> list[tuple[float, float]]:
    """Carry a verb so many times in a fresh process with this environment; return wall and CPU seconds of each."""
    command = [sys.executable, "-m", "benchmarks.verb_again", str(times), *verb]
    done = subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.PIPE, text=True)
    return parse(done.stdout)


def parse(said: str) -> list[tuple[float, float]]:
    """Read what `main` printed: seconds on the wall and of CPU, for each time."""
    return [(float(wall), float(cpu)) for wall, cpu in (line.split() for line in said.splitlines())]


def main(arguments: list[str]) -> None:
    """Understand the arguments; see the module's description."""
    took = []
    for _ in range(int(arguments[0]) + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            cli.main(args=arguments[1:], prog_name="paceline", standalone_mode=False)
        took.append((time.perf_counter() - wall, time.process_time() - cpu))
    for wall, cpu in took[1:]:
        print(f"{wall:.6f} {cpu:.6f}")


if __name__ == "__main__":
    main(sys.argv[1:])
