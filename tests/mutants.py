"""Plant bugs, one at a time, and show that the tests catch each: `python -m tests.mutants [--only NAME] [--write]`.

Everything happens in a copy of the project; the checkout isn't touched. Before anything is planted, the chosen tests
pass in the copy, else their failing would mean nothing. Exit 1 if a bug survives, 2 if it couldn't be tried.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from docs import planted as page
from docs.blocks import put
from tests.planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cli", "producers", "worker", "monitor", "sandbox", "config", "paceline", "tests")
LONGEST_S = 240.0
"""No selection of tests takes a tenth of it; a mutant that makes them hang is changed into one that doesn't."""

_FAILED = re.compile(r"^FAILED (\S+?)(?:\[.*?\])?(?: - .*)?$", re.M)
_NOT_RUN = re.compile(
    r"^E +.*(?:ImportError|ModuleNotFoundError|SyntaxError|IndentationError|NameError|UnboundLocalError"
    r"|compiling script|user_script|@user_function)",
    re.M,
)
"""Errors of a program that was never valid: that they are noticed shows nothing about the tests."""


class Fate(StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"  # it couldn't run, so that nothing was shown


@dataclass(frozen=True, slots=True)
class Trial:
    """What the tests said about a mutant. `by` are those that failed, without parameters."""

    fate: Fate
    by: tuple[str, ...]
    seconds: float = 0.0
    output: str = ""


def planted(text: str, mutant: Mutant) -> str:
    """Return the mutant's file with the bug in it. Raises `ValueError` unless each old text stands there once."""
    for old, new in mutant.edits:
        times = text.count(old)
        if times != 1:
            raise ValueError(f"mutant {mutant.name!r} no longer applies: {mutant.file} has {times} times {old!r}")
        text = text.replace(old, new)
    if mutant.file.endswith(".py"):
        compile(text, mutant.file, "exec")
    return text


def judge(code: int, output: str) -> Trial:
    """Tell from pytest's exit code and output whether a bug was caught by a test that ran and failed."""
    failed = tuple(dict.fromkeys(_FAILED.findall(output)))
    if code == 0:
        return Trial(Fate.SURVIVED, ())
    if code != 1 or not failed or _NOT_RUN.search(output):
        return Trial(Fate.BROKEN, failed, output=output)
    return Trial(Fate.CAUGHT, failed, output=output)


class Copy:
    """A copy of the project, in which bugs are planted and tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            [shutil.which("git") or "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)

    def check(self) -> None:
        """Make sure that processes started there run the copy, in whatever folder they are."""
        program = (
            f"import {', '.join(PACKAGES)}; print(*({', '.join(f'{one}.__file__' for one in PACKAGES)},), sep='\\n')"
        )
        shown = subprocess.run(
            [sys.executable, "-P", "-c", program],
            cwd="/",
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        foreign = [path for path in shown if not Path(path).is_relative_to(self.folder)]
        if foreign or len(shown) != len(PACKAGES):
            raise RuntimeError(f"the tests would not run the copy but {foreign}")

    def test(self, tests: Iterable[str]) -> Trial:
        """Run tests on the copy as it is now, up to the first that fails."""
        began = time.monotonic()
        options = ["-x", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *dict.fromkeys(tests)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0] + f"\nnot over after {LONGEST_S:g} s"
            return Trial(Fate.BROKEN, (), time.monotonic() - began, output)
        found = judge(process.returncode, output)
        return Trial(found.fate, found.by, time.monotonic() - began, found.output)

    def try_out(self, mutant: Mutant) -> Trial:
        """Plant a bug, run its tests, and take it out again."""
        path = self.folder / mutant.file
        whole = path.read_text("utf-8")
        path.write_text(planted(whole, mutant), "utf-8")
        try:
            return self.test(mutant.tests)
        finally:
            path.write_text(whole, "utf-8")

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PACELINE_", "PYTEST_"))}
        # Bytecode is told from its source by second and size, which a bug may both leave as they were.
        return {**own, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "250"}


def table(trials: Mapping[str, Trial]) -> str:
    """Return the table for docs/reliability.md."""
    rows = ["| planted bug | what it would do | file | caught by | s |", "|---|---|---|---|---|"]
    for mutant in MUTANTS:
        trial = trials[mutant.name]
        by = ", ".join(f"`{name}`" for name in trial.by)
        rows.append(f"| {mutant.name} | {mutant.harm} | `{mutant.file}` | {by} | {trial.seconds:.0f} |")
    return "\n".join(rows)


def chosen(names: Sequence[str]) -> list[Mutant]:
    """Return the mutants with these names, or all. Raises `ValueError` for a name that none has."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise ValueError(f"there is no mutant {', '.join(sorted(unknown))}")
    return [mutant for mutant in MUTANTS if not names or mutant.name in names]


def run(mutants: Sequence[Mutant], folder: Path) -> dict[str, Trial]:
    """Try every mutant in a copy of the project in `folder`, printing as it goes. Raises `RuntimeError` if none can."""
    copy = Copy(folder)
    copy.check()
    for mutant in mutants:
        planted((folder / mutant.file).read_text("utf-8"), mutant)
    clean = copy.test(test for mutant in mutants for test in mutant.tests)
    if clean.fate is not Fate.SURVIVED:
        raise RuntimeError(f"without any bug, the tests fail:\n{clean.output}")
    print(f"without any bug, the chosen tests pass ({clean.seconds:.0f} s)", flush=True)
    trials = {}
    for mutant in mutants:
        trials[mutant.name] = trial = copy.try_out(mutant)
        by = ", ".join(name.rpartition("::")[2] for name in trial.by)
        shown = f"caught by {by}" if trial.fate is Fate.CAUGHT else trial.fate.value
        print(f"{mutant.name:<36} | {mutant.file:<32} | {shown} | {trial.seconds:.1f}", flush=True)
        if trial.fate is Fate.BROKEN:
            print(trial.output)
    return trials


def main() -> None:
    """Try the mutants asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--write", action="store_true", help=f"write the table into {page.PAGE}")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("the table is of all mutants: --write goes without --only")
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="paceline-mutants-") as folder:
            trials = run(chosen(options.only), Path(folder).resolve())
    except (ValueError, RuntimeError, SyntaxError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    fates = [trial.fate for trial in trials.values()]
    counts = " ".join(f"{fate.name.lower()}={fates.count(fate)}" for fate in Fate)
    print(f"mutants={len(fates)} {counts} seconds={time.monotonic() - began:.0f}")
    if Fate.SURVIVED in fates:
        sys.exit(1)
    if Fate.BROKEN in fates:
        sys.exit(2)
    if options.write:
        path = ROOT / page.PAGE
        path.write_text(put(path.read_text("utf-8"), page.BLOCK, table(trials)), "utf-8")


if __name__ == "__main__":
    main()
