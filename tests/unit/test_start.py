"""What has to be quick imports nothing that isn't: `--help`, and what a shell asks at every Tab."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.main import VERBS

HEAVY = {
    "asyncio",
    "celery",
    "config.settings",
    "difflib",
    "httpx",
    "kombu",
    "paceline.model",
    "pydantic",
    "redis",
    "rich",
}

READERS = ["cli.limits", "cli.listing", "cli.show", "cli.status"]
"""Verbs that only read the ledger: they send no message and no request."""

_LOOK = """
import json, sys
from cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: str, **variables: str) -> tuple[str, set[str]]:
    """Run the command in a process of its own; return what it prints and the modules it has imported by then."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOOK, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout, set(json.loads(done.stderr))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    """Redis' client alone takes longer than all that they import."""
    said, modules = imported(option)

    assert "paceline" in said
    assert not HEAVY & modules


def test_a_completed_verb_imports_no_verb() -> None:
    """Click would import all of them, to ask each whether it is hidden and what it says of itself."""
    asked = {"COMP_WORDS": "paceline s", "COMP_CWORD": "1"}

    said, modules = imported(_PACELINE_COMPLETE="bash_complete", **asked)

    assert said.split() == [f"plain,{name}" for name in VERBS if name.startswith("s")]
    assert not HEAVY & modules
    assert not modules & {module for module, _ in VERBS.values()}


def test_verbs_that_read_the_ledger_import_neither_celery_nor_httpx() -> None:
    """Together those take as long as all the rest of `paceline status`."""
    code = f"import sys, {', '.join(READERS)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert not {"amqp", "celery", "httpx", "kombu", "producers", "rich"} & set(done.stdout.split())
