"""`paceline hooks`: takes hints that runs have ended, by webhook or stream, so that they are asked after at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from cli.exits import Exit
from cli.session import session
from config.names import plain
from config.settings import load_settings
from paceline.errors import ConfigError, CredentialsError, UsageError

if TYPE_CHECKING:
    from config.accounts import Account
    from config.schema import Settings
    from config.services import Services
    from paceline.hints import Hints, RunHint
    from paceline.model import Follow

SECRET_ENV = "KOLENA_WEBHOOK_SECRET"  # noqa: S105  # the name of the variable


@click.command("hooks")
@click.option("--port", type=click.IntRange(0, 65535), help="Receive webhooks on this port; 0 chooses a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--stream", is_flag=True, help="Listen to the provider's streams of events; needs no port.")
@click.option("--account", metavar="NAME", help="Needed where there are several Kolena accounts.")
@click.option(
    "--secret-env",
    default=SECRET_ENV,
    show_default=True,
    metavar="NAME",
    help="The environment variable that holds the webhook's secret.",
)
def command(port: int | None, host: str, stream: bool, account: str | None, secret_env: str) -> int:
    """Take hints that runs have ended, so that they are followed sooner, until Ctrl-C.

    A hint only moves the next question about a run forward: what a run came to is always asked of the provider, and
    without this command every run is followed all the same.

    Webhooks are received at /webhook, and /healthz answers 200. Every delivery has to carry the provider's signature
    over a fresh timestamp, and is taken once; that alone is why --host may name an address that other machines reach.
    There is no encryption: put a proxy with TLS in front.
    """
    from cli.follow import Interrupted
    from config.connections import mask_of
    from config.logs import setup_logging
    from config.messages import Messenger, make_app
    from paceline.hints import Hints
    from paceline.scripts import Scripts

    if port is None and not stream:
        raise UsageError("nothing to listen to: give --port, --stream, or both")
    settings = load_settings()
    chosen = kolena_account(settings, account)
    if port is not None:
        read_secret(secret_env)
    if stream:
        chosen.key()
    setup_logging(settings.log_level, settings.log_format, mask=mask_of(settings, secret_env))
    interrupted = Interrupted()
    with interrupted.watching(), session(settings) as services, ExitStack() as open_:
        hints = Hints(services.redis, Scripts(services.redis), services.ledger.place)
        send = Messenger(make_app(settings), services.ledger.place).send
        if port is not None:
            url = open_.enter_context(_receiving(host, port, chosen.name, services, hints, send, secret_env))
            click.echo(f"listening on {url}", err=True)
        if stream:
            open_.enter_context(_streaming(settings, chosen, services, hints, send))
            click.echo(f"listening to the streams of {chosen.name}", err=True)
        while not interrupted.times:
            interrupted.wake.wait(1.0)
    return Exit.DONE


def kolena_account(settings: Settings, name: str | None) -> Account:
    """Return the account of that name, or the only Kolena account. Raises `ConfigError`."""
    if name is not None:
        chosen = settings.account(name)
        if chosen.provider != "kolena":
            raise ConfigError(f"account {chosen.name}: {chosen.provider} sends no hints; kolena does")
        return chosen
    found = [account for account in settings.accounts.values() if account.provider == "kolena"]
    if not found:
        raise ConfigError("there is no Kolena account; export KOLENA_API_KEY=… makes account kolena")
    if len(found) > 1:
        raise ConfigError(f"several Kolena accounts ({', '.join(sorted(one.name for one in found))}); choose --account")
    return found[0]


def read_secret(name: str) -> bytes:
    """Read the webhook's secret by the name of its variable. Raises `CredentialsError` where there is none."""
    from paceline.secrets import read_secret as read_text

    secret = read_text(name)
    if not secret:
        raise CredentialsError(f"no webhook secret; set it with: export {plain(name)}=…")
    return secret.encode("utf-8", "surrogateescape")


@contextmanager
def _receiving(
    host: str,
    port: int,
    account: str,
    services: Services,
    hints: Hints,
    send: Callable[[Iterable[Follow]], None],
    secret_env: str,
) -> Iterator[str]:
    from paceline.deliveries import Deliveries
    from paceline.receiver import Receiver

    desk = Deliveries(account, services.redis, hints, send, lambda: read_secret(secret_env))
    try:
        receiver = Receiver(host.strip("[]"), port, desk)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"can't listen on {plain(host)}:{port} ({why}); choose another --port or --host") from error
    threading.Thread(target=receiver.serve_forever, name="paceline-hooks", daemon=True).start()
    try:
        yield receiver.url
    finally:
        receiver.shutdown()
        receiver.server_close()


@contextmanager
def _streaming(
    settings: Settings,
    account: Account,
    services: Services,
    hints: Hints,
    send: Callable[[Iterable[Follow]], None],
) -> Iterator[None]:
    from paceline.deliveries import pass_on, tell_bare
    from paceline.model import EndpointClass
    from paceline.providers.http import Http, HttpPolicy
    from paceline.providers.kolena_stream import OVER_S, WAIT_S, Streams

    def tell(agent: str, runs: Sequence[RunHint] | None) -> None:
        if runs is None:
            tell_bare(hints, send, account.name, [agent])
        else:
            pass_on(send, hints.ended(account.name, runs))

    policy = HttpPolicy(connect_s=settings.connect_seconds, read_s=WAIT_S + OVER_S, answer_bytes=settings.answer_bytes)
    rate = account.rates[EndpointClass.GET]
    streams = Streams(
        Http(account.url, account.key, policy),
        agents=lambda: hints.agents(account.name),
        permit=lambda: services.limiter.take(account.name, EndpointClass.GET, rate),
        tell=tell,
    )
    streams.start()
    try:
        yield
    finally:
        streams.stop()
