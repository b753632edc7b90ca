"""The `paceline sandbox` command."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from sandbox.fault_kinds import KINDS
from sandbox.faults import fault_from, parse_spec
from sandbox.limits import Limit, known_class
from sandbox.options import DEFAULT_AGENTS, DEFAULT_LIMITS, SandboxOptions, Seconds
from sandbox.server import serve
from sandbox.webhooks import loopback_url

T = TypeVar("T")


def _checked(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _limits(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Limit]:
    limits = dict(DEFAULT_LIMITS)
    for value in values:
        request_class, _equals, text = value.partition("=")
        _checked(known_class, request_class)
        if text == "off":
            limits.pop(request_class, None)
        else:
            limits[request_class] = _checked(Limit.parse, text)
    return limits


def _agents(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[int, str]:
    agents = {}
    for value in values:
        id_, _colon, name = value.partition(":")
        agents[_checked(int, id_)] = name or f"Agent {id_}"
    return agents or dict(DEFAULT_AGENTS)


def _faults(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        _checked(lambda spec: fault_from(parse_spec(spec), 0), value)
    return values


def _seconds(_: click.Context, __: click.Parameter, value: str) -> Seconds:
    return _checked(Seconds.parse, value)


def _keys(_: click.Context, __: click.Parameter, name: str | None) -> frozenset[str] | None:
    if name is None:
        return None
    keys = frozenset(os.environ.get(name, "").replace(",", " ").split())
    if not keys:
        raise click.BadParameter(f"the environment has no keys in {name}")
    return keys


def _webhook(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    return None if url is None else _checked(loopback_url, url)


def _secret(_: click.Context, __: click.Parameter, name: str | None) -> bytes | None:
    if name is None:
        return None
    secret = os.environ.get(name, "").strip()
    if not secret:
        raise click.BadParameter(f"the environment has no secret in {name}")
    return secret.encode()


def _owner(_: click.Context, __: click.Parameter, fd: int | None) -> int | None:
    if fd is None:
        return None
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise click.BadParameter(f"{fd} isn't an open descriptor") from error
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)):
        raise click.BadParameter(f"descriptor {fd} is no pipe")
    return fd


def _standard_input(context: click.Context, parameter: click.Parameter, wanted: bool) -> int | None:
    return _owner(context, parameter, sys.stdin.fileno()) if wanted else None


@click.command("sandbox", epilog="Faults: " + ", ".join(KINDS))
@click.option("--port", type=click.IntRange(0, 65535), default=8899, show_default=True, help="0 chooses a free one.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written with the URL when requests are answered.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="CLASS=N/SECONDS",
    callback=_limits,
    help="add, wait, get, list, delete or other; like add=40/60s, or add=off. Repeatable.",
)
@click.option("--refused-count/--no-refused-count", help="Whether a request answered 429 uses a place in the window.")
@click.option("--retry-after", default="seconds", show_default=True, help="seconds, date, none, or the text to send.")
@click.option(
    "--run-seconds", default="2", show_default=True, metavar="S|LOW-HIGH", callback=_seconds, help="How long runs take."
)
@click.option("--agent", "agents", multiple=True, metavar="ID:NAME", callback=_agents, help="Repeatable.")
@click.option(
    "--keys-from-env",
    "accepted_keys",
    metavar="NAME",
    callback=_keys,
    help="Accept only the keys in that variable, separated by commas or spaces; default: any key.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[@CLASS+…][:NAME=VALUE,…]",
    callback=_faults,
    help="Like accept_then_drop@add:p=0.1 or status@list:code=503,count=3. Repeatable.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of durations and faults.")
@click.option("--credits", "credits_", type=float, default=1.0, show_default=True, help="Per file and prompt.")
@click.option("--max-files", type=click.IntRange(1), default=300, show_default=True)
@click.option("--max-file-bytes", type=click.IntRange(1), default=250_000_000, show_default=True)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1),
    default=50_000_000,
    show_default=True,
    help="Of one of Kindo's triggers.",
)
@click.option("--webhook", metavar="URL", callback=_webhook, help="Post runs that end to this address on this machine.")
@click.option(
    "--webhook-secret-env",
    "webhook_secret",
    metavar="NAME",
    callback=_secret,
    help="The variable with the secret that signs them; without --webhook, the address is set later.",
)
@click.option("--log-file", type=click.Path(path_type=Path), help="A JSON line for each request is appended here.")
@click.option("--owner-fd", type=int, callback=_owner, help="Stop when the other end of this pipe is closed.")
@click.option(
    "--exit-with-parent", "standard_input", is_flag=True, callback=_standard_input, help="The same for standard input."
)
def command(
    port: int,
    ready_file: Path | None,
    limits: dict[str, Limit],
    refused_count: bool,
    retry_after: str,
    run_seconds: Seconds,
    agents: dict[int, str],
    accepted_keys: frozenset[str] | None,
    faults: tuple[str, ...],
    seed: int,
    credits_: float,
    max_files: int,
    max_file_bytes: int,
    max_body_bytes: int,
    webhook: str | None,
    webhook_secret: bytes | None,
    log_file: Path | None,
    owner_fd: int | None,
    standard_input: int | None,
) -> None:
    """Stand in for the providers' APIs on this machine, with faults on request.

    Kolena's agents are 1 and 2, or those of --agent. Kindo's are 11111111-1111-4111-8111-111111111111 (with the input
    documents), 2222… (documents, language), 3333… (files), 4444… (has triggers), 5555… (no result), 6666… (fails) and
    7777… (is cancelled).
    """
    if webhook is not None and webhook_secret is None:
        raise click.UsageError("--webhook needs --webhook-secret-env")
    options = SandboxOptions(
        port=port,
        limits=limits,
        refused_count=refused_count,
        retry_after=retry_after,
        run_seconds=run_seconds,
        agents=agents,
        accepted_keys=accepted_keys,
        faults=faults,
        seed=seed,
        credits=credits_,
        max_files=max_files,
        max_file_bytes=max_file_bytes,
        max_body_bytes=max_body_bytes,
        log_file=log_file,
        webhook=webhook,
        webhook_secret=webhook_secret,
        owner_fd=standard_input if owner_fd is None else owner_fd,
    )

    def ready(url: str) -> None:
        click.echo(f"sandbox ready at {url}", err=True)
        if ready_file is not None:
            aside = ready_file.with_name(ready_file.name + ".part")
            aside.write_text(url + "\n")
            aside.rename(ready_file)  # whoever waits for the file never reads half of it

    try:
        serve(options, ready)
    except OSError as error:
        raise click.ClickException(f"can't listen on port {port}: {error.strerror}") from error
