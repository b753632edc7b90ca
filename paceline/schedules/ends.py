"""Look up in the ledger how nights' batches stand."""

from __future__ import annotations

from redis import Redis

from paceline.ending import Ended, ended
from paceline.model import State
from paceline.removing import find_forgotten
from paceline.schedules.judging import End
from paceline.schedules.night import Night, NightState
from paceline.summary import summarize
from paceline.times import ms_of
from paceline.views import Views

_NOT_BEGUN = End(Ended.OPEN)


def find_end(redis: Redis, views: Views, night: Night, now_ms: int) -> End:
    """Return how a night's batch stands; of a night without one, that it is open."""
    if night.batch is None:
        return _NOT_BEGUN
    batch = views.find_batch(night.batch)
    if batch is None:
        gone = find_forgotten(redis, night.batch)
        if gone is None:
            return _NOT_BEGUN if night.state is not NightState.STARTED else End(Ended.GONE)
        finished = gone.summary.get("finished_at")
        how = ended(gone.summary, tolerated=gone.tolerated, paused=None)
        return End(how, gone.summary, ms_of(finished) if finished else None, closed=True)
    account = views.account(batch.account)
    summary = summarize(batch, now_ms)
    how = ended(summary, tolerated=batch.tolerated, paused=batch.paused or account.paused)
    why = batch.paused_message or account.message or ""
    if batch.by_state[State.HELD] and not batch.paused:
        why = f"{batch.by_state[State.HELD]:,} submissions are held: paceline status {batch.id}"
    return End(how, summary, batch.finished_ms, closed=batch.closed, why=why)
