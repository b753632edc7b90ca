"""What a spool knows, in memory: a stand-in for the file."""

from __future__ import annotations

from paceline import spool
from paceline.lifecycle import Verb
from paceline.spool import Request, Verdict


class Notes:
    """The notes as they are in memory, built up line by line."""

    def __init__(self) -> None:
        self.latest: dict[str, Request] = {}
        self.accepted: dict[str, Verdict] = {}
        self.waiting: dict[Request, Verdict] = {}

    def begun(self, request: Request) -> None:
        """Add a request."""
        known = self.latest.get(request.submission)
        if known is None or known.generation < request.generation:
            self.latest[request.submission] = request

    def keep(self, verdict: Verdict) -> None:
        """Add a verdict."""
        if verdict.verb is not Verb.PUT_BACK:  # one that came to nothing may never have begun
            self.begun(verdict.request)
        self.waiting[verdict.request] = verdict
        if verdict.verb is Verb.ACCEPTED:
            self.accepted[verdict.request.submission] = verdict

    def handed_in(self, request: Request) -> None:
        """Drop a verdict from those that wait."""
        self.waiting.pop(request, None)

    def read(self, line: bytes) -> None:
        """Add a line of the file, which must be one of ours."""
        note = spool._note(line)
        assert note is not None, line
        request, verdict, done = note
        if done:
            self.handed_in(request)
        elif verdict is not None:
            self.keep(verdict)
        else:
            self.begun(request)
