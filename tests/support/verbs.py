"""A verb called in this process, on a server of the tests: a subprocess would take half a second each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cli.exits import Exit, exit_of
from cli.main import cli
from paceline.errors import PacelineError


@dataclass(frozen=True)
class Said:
    """What a verb came to."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Parse stdout."""
        return json.loads(self.stdout)


class Verbs:
    """Calls verbs on the server behind `socket`, with a home in `folder`; standard input is no terminal."""

    def __init__(self, socket: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = folder / "home"
        self.patch = monkeypatch
        monkeypatch.setenv("PACELINE_REDIS_URL", f"unix://{socket}")
        monkeypatch.setenv("PACELINE_HOME", str(self.home))
        monkeypatch.chdir(folder)

    def __call__(self, *arguments: str, answer: str = "") -> Said:
        """Run one; `answer` is what a person would type."""
        result = CliRunner().invoke(cli, arguments, input=answer, standalone_mode=False)
        code, said = result.return_value, ""
        match result.exception:
            case None:
                pass
            case PacelineError() as error:
                code, said = exit_of(error), str(error)
            case click.ClickException() as error:
                code, said = Exit.USAGE, error.format_message()
            case click.Abort():
                code = Exit.DETACHED
            case error:
                raise error
        return Said(int(code or 0), result.stdout, result.stderr + said)
