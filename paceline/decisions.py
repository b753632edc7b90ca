"""What a person decides about batches, accounts and submissions: each verb is one script, one atomic step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paceline import redis_keys as keys
from paceline.desk import Desk, finish_args, finished
from paceline.ending import BY_PERSON
from paceline.lifecycle import Verb
from paceline.model import ErrorNote, Follow, Outcome, State, Step, Submission
from paceline.replies import Ending, Lost, Moved


class Decisions(Desk):
    """Pauses, choices, and what follows from a person's word. Thread-safe."""

    def choose(self, batch: str, choices: Mapping[str, str]) -> None:
        """Change how a batch is run; an empty text takes a choice back."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name, value in choices.items():
                if value:
                    pipe.hset(keys.batch(batch), f"choice:{name}", value)
                else:
                    pipe.hdel(keys.batch(batch), f"choice:{name}")
            pipe.execute()

    def pause_by_hand(self, account: str, *, batch: str = "", message: str, by: str = "") -> bool:
        """Pause an account (or only a batch) on a person's word, until `resume`; False if it was paused already.

        What is under way goes on. A pause that stands keeps its reason. `by` says who it is.
        """
        wanted = [keys.batch(batch) if batch else keys.account(account), keys.feed(account)]
        return bool(self._scripts.run("pause_by_hand", wanted, [batch, BY_PERSON, message, by]))

    def cancel_batch(self, batch: str, *, message: str) -> Follow | None:
        """Begin to cancel a batch, for good: nothing of it is sent any more. Returns the wake-up of what does the rest.

        Calling it again wakes that once more.
        """
        account, _ = self.place(batch)
        wanted = [keys.batch(batch), keys.feed(account), keys.CHAINS]
        wake = int(self._scripts.run("cancel_batch", wanted, [batch, message]))
        return None if wake < 0 else Follow(Step.CANCEL, batch, wake / 1000)

    def resume(self, account: str, *, batch: str = "", reason: str = "") -> tuple[bool, Follow | None]:
        """Let a paused account (or batch) go on, if it is paused for `reason` ('' = any); False if it wasn't."""
        wanted = [keys.batch(batch) if batch else keys.account(account), keys.CHAINS, keys.feed(account)]
        wanted.append(keys.account(account))
        was, wake = self._scripts.run("resume", wanted, [account, batch, reason])
        return bool(was), None if int(wake) < 0 else Follow(Step.FEED, account, int(wake) / 1000)

    def resubmit(self, submission: str, generation: int, *, reason: str) -> Moved | Lost:
        """Let a held or uncertain submission be sent again: a person's decision, and a person's money."""
        return self._moved("resubmit", submission, [submission, generation, reason], Step.FEED)

    def give_up(self, submission: str, generation: int, *, reason: str, error: ErrorNote) -> Moved | Lost:
        """Finish a held submission as failed, by a person's decision."""
        end = Ending(submission, generation, Outcome.FAILED, reason, error)
        args = finish_args(end, Verb.GIVE_UP, (State.HELD,))
        return finished(end, self._scripts.run("finish", self._way(submission), args))

    def cancel(self, items: Sequence[Submission], error: ErrorNote | None = None) -> list[Moved | Lost]:
        """Finish planned or held submissions as cancelled, in one round trip, by a person's decision."""
        ends = [Ending(item.id, item.generation, Outcome.CANCELLED, "cancelled", error) for item in items]
        return self._finish(ends, Verb.CANCEL, (State.PLANNED, State.HELD))

    def cancelled(self, endings: Sequence[Ending]) -> list[Moved | Lost]:
        """Record that runs were ended at the provider, by a person's decision."""
        return self._finish(endings, Verb.CANCEL, (State.RUNNING,))

    def collect(self, submission: str, generation: int) -> Moved | Lost:
        """Ask again after a run that was given up at the time limit; its batch is open again until that is known."""
        return self._moved("collect", submission, [submission, generation], Step.POLL)

    def retry(self, submission: str, generation: int, *, reason: str) -> Moved | Lost:
        """Send a submission that failed once more; `Lost` for one that didn't fail, or that may still be collected."""
        return self._moved("retry", submission, [submission, generation, reason], Step.FEED)
