"""Post batches' records to a web address, signed as Standard Webhooks says, at least once each.

    {"type":"submission.exported","timestamp":…,"data":{"record":{…},"files":[{…}]}}    when a submission is exported
    {"type":"batch.complete","timestamp":…,"data":{…}}                                  the summary, after the last one

Any 2xx means that the receiver has it for good. Anything else leaves the submission finished, and it is delivered again
half a minute later, under the same `webhook-id`: by that a receiver tells what it has already. The id changes with what
makes a new record of a submission: another attempt (`retry`), and another end of the same one (`collect`). It does not
depend on the content, for a delivery that is repeated late may have lost its answers. It has no full stop, as the
signature is made over `id.timestamp.body`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from paceline import jsonl
from paceline.errors import UsageError
from paceline.providers.address import is_loopback
from paceline.sinks.base import Closing, Part
from paceline.sinks.posting import Receiver, read_secret


class WebhookSink:
    """A web address; https, or http on this machine. Can't be read back. See `paceline.sinks.base.Sink`.

    The secret is read from the environment at each delivery and kept nowhere. `ca_file` replaces the public certificate
    authorities; `now_s` is the time that a receiver compares with its own.
    """

    def __init__(self, url: str, *, ca_file: str | None = None, now_s: Callable[[], float] = time.time) -> None:
        parts = urlsplit(url)
        self._receiver = Receiver(url, ca_file=ca_file, now_s=now_s)
        self.shown = self._receiver.shown
        if parts.username is not None:
            raise UsageError("output: the address of a webhook takes no user; deliveries are signed instead")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"output {self.shown!r}: results would travel unencrypted; write https://")

    def write(self, part: Part) -> None:
        """Deliver one submission. Raises `SinkError` unless the receiver says that it has it."""
        record = part.record
        name = _id(part.submission, record["attempts"], record["finished_at"])
        data = {"record": dict(part.record), "files": [dict(file) for file in part.files]}
        self._deliver(name, "submission.exported", record["finished_at"], data)

    def check(self, batch: str | None) -> None:
        """Look at the secret; nothing is sent. Raises `CredentialsError`."""
        read_secret()

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Do nothing: files that are in no submission aren't delivered, the summary counts them."""

    def commit(self, closing: Closing) -> None:
        """Deliver the summary, if the batch is still open. Raises `SinkError`."""
        if closing.still_open():
            finished_at = closing.summary.get("finished_at")
            self._deliver(_id(closing.batch, finished_at), "batch.complete", finished_at, closing.summary)

    def _deliver(self, name: str, kind: str, happened_at: str | None, data: Mapping[str, Any]) -> None:
        body = jsonl.encode({"type": kind, "timestamp": happened_at, "data": data})
        self._receiver.deliver(name, body, read_secret)


def _id(*facts: object) -> str:
    return "_".join(str(fact).replace(":", "").replace(".", "") for fact in facts if fact is not None)
