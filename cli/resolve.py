"""`paceline resolve`: a person decides on a submission that is held."""

from __future__ import annotations

import re
from itertools import islice

import click

from cli.patience import ask
from cli.session import send_on, session
from config.services import Services, open_provider
from config.settings import load_settings
from paceline.errors import ConfigError, UsageError
from paceline.model import EndpointClass, ErrorNote, Follow, RunView, State, Submission
from paceline.providers.kinds import provider_kind
from paceline.replies import Duplicate, Lost, Moved


@click.command("resolve")
@click.argument("submission")
@click.option("--run-id", metavar="R", help="It has this run at the provider: follow that one. Costs nothing.")
@click.option("--resubmit", is_flag=True, help="Send it again. If it has a run after all, that is paid twice.")
@click.option("--fail", is_flag=True, help="Record it as failed.")
def command(submission: str, run_id: str | None, resubmit: bool, fail: bool) -> None:
    """Decide on SUBMISSION, which is held because nobody could tell whether the provider has a run for it.

    Look for its external id at the provider first: `paceline show SUBMISSION` names it.
    """
    if (run_id is not None) + resubmit + fail != 1:
        raise UsageError("say one of --run-id R, --resubmit and --fail")
    settings = load_settings()
    with session(settings) as services:
        item = services.views.submission(submission)
        if item.state is not State.HELD:
            raise UsageError(f"submission {submission} is {item.state}, not held; there is nothing to decide")
        follow = _decide(services, item, run_id, resubmit)
        send_on(services, [follow] if follow is not None else [])


def _decide(services: Services, item: Submission, run_id: str | None, resubmit: bool) -> Follow | None:
    ledger = services.ledger
    answer: Moved | Duplicate | Lost
    if run_id is not None:
        provider = services.views.batch(item.batch).provider
        if not re.fullmatch(provider_kind(provider).run_id, run_id, re.ASCII):
            raise UsageError(f"--run-id {run_id!r}: no id of a run of {provider}")
        _check_run(services, item, run_id)
        said = f"Following run {run_id}."
        answer = ledger.accepted(item.id, RunView(run_id, None, "", None), attempt=None, first_poll_s=0.0)
    elif resubmit:
        said = "It will be sent again."
        answer = ledger.resubmit(item.id, item.generation, reason="by_hand")
    else:
        said = "Recorded as failed."
        note = ErrorNote("request", "submit", f"given up by hand; it was held because of {item.reason}")
        answer = ledger.give_up(item.id, item.generation, reason="given_up", error=note)
    if not isinstance(answer, Moved):
        raise UsageError(f"submission {item.id} was decided on by somebody else meanwhile")
    click.echo(said, err=True)
    return answer.follow


def _check_run(services: Services, item: Submission, run_id: str) -> None:
    """Refuse a run that is another submission's, or that the provider doesn't have: its results would pass for ours."""
    views, batch = services.views, services.views.batch(item.batch)
    for other in filter(None, map(views.find_batch, views.batch_ids())):
        if other.account != batch.account:
            continue
        ids = views.ids(other)
        while some := list(islice(ids, 1000)):
            owner = next((name for name, runs in views.run_ids(some).items() if run_id in runs[0]), None)
            if owner is not None and owner != item.id:
                raise UsageError(f"run {run_id} is the one of submission {owner}; look for another")
    account = services.settings.accounts.get(batch.account)
    if account is None or account.url != batch.address:
        raise ConfigError(f"account {batch.account} isn't set here, so nobody can ask after the run; set it as before")
    account.key()
    provider = open_provider(account, services.settings)
    run = ask(account, services.limiter, EndpointClass.GET, lambda: provider.get(batch.agent, run_id))
    if run is None:
        raise UsageError(f"{batch.provider} has no run {run_id} of agent {batch.agent}; check the id")
    if run.external_id not in (None, item.external_id):
        raise UsageError(f"run {run_id} carries the external id {run.external_id}: it isn't of submission {item.id}")
