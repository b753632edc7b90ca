"""Say in sentences what a batch came to, and what the words in it mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paceline.model import Choice, SkipReason
from paceline.report.numbers import Report
from paceline.wording import amount, counted, duration

FAILURES: Mapping[str, str] = {
    "run_failed": "The provider ran the agent on these files and reported that it failed.",
    "timed_out": "No end within the time limit. The run may still finish at the provider: “paceline collect”.",
    "rejected": "The provider refused the request itself: these files, sent like this, can't be processed.",
    "file_changed": "A file was no longer the one that had been planned, so it wasn't sent.",
    "file_missing": "A file was gone when its turn came.",
    "given_up": "A person decided to count it as failed.",
    "cancelled": "A person cancelled the batch.",
    "cancelled_at_provider": "The run was cancelled at the provider.",
    "split": "Failed as a whole and was sent again in two halves; the files are counted with those.",
}
"""Why a submission didn't succeed. A reason that isn't here speaks for itself."""

SKIPS: Mapping[str, str] = {
    SkipReason.EMPTY: "Nothing is in the file.",
    SkipReason.TOO_LARGE: "Larger than the account may send.",
    SkipReason.UNREADABLE: "A file or folder that couldn't be read.",
    SkipReason.NOT_REGULAR: "Not a file with contents, but a device or a pipe.",
    SkipReason.ESCAPES_SOURCE: "A link that leads out of the source.",
    SkipReason.MISSING: "Named in the list, and not there.",
    SkipReason.IN_OUTPUT: "Lies where results are written.",
    SkipReason.NO_GROUP: "Belongs to no group.",
    SkipReason.GROUP_TOO_LARGE: "Its group is larger than one submission may be.",
    SkipReason.GROUP_INCOMPLETE: "Another file of its group can't be sent.",
    SkipReason.GROUP_CLOSED: "Its group had been planned before it turned up.",
    SkipReason.UNCHANGED: "Answered before, and unchanged since.",
    SkipReason.SAME_CONTENT: "The same content was answered before.",
    "": "The reasons stand beside each file in the manifest.",
}

CHOICES: Mapping[str, str] = {
    Choice.WAIT: "wait in the call (seconds)",
    Choice.DUE: "due",
    Choice.MAX_RUNS: "most runs",
    Choice.MAX_CREDITS: "most credits",
    Choice.MAX_FAILURES: "failures tolerated",
    Choice.ISOLATE: "runs for finding bad files",
}

STATES: Mapping[str, str] = {
    "planning": "The files are still being listed.",
    "running": "Still running.",
    "paused": "Paused.",
    "cancelling": "Being cancelled.",
    "closing": "All runs have ended; the final files are being made.",
    "complete": "Complete.",
}


def sentence(report: Report) -> str:
    """Say what the batch came to, or where it stands, in a sentence or two."""
    summary = report.summary
    files, states = summary["files"], summary["submissions"]
    if summary["state"] == "complete":
        return _result(files)
    done = files["total"] - files["pending"]
    more = " so far" if summary["state"] == "planning" else ""
    text = f"{STATES.get(summary['state'], '')} {done:,} of {counted(files['total'], 'file')}{more} are done"
    bad = [f"{files[name]:,} {name}" for name in ("failed", "cancelled") if files[name]]
    text += f"; of these, {' and '.join(bad)}." if bad else "."
    if summary["eta_seconds"]:
        text += f" About {duration(summary['eta_seconds'])} are left."
    if states["held"]:
        text += f" {counted(states['held'], 'submission')} can't go on without a person's decision."
    return text.strip()


def _result(files: Mapping[str, Any]) -> str:
    total = files["total"]
    if not total:
        return "There was nothing to do: the file set is empty."
    sent = total - files["skipped"]
    if not sent:
        return f"Nothing was sent: {_all(total)} {'was' if total == 1 else 'were'} left out."
    rest = [f"{files[name]:,} {name}" for name in ("failed", "cancelled") if files[name]]
    if files["succeeded"] == sent:
        text = f"{_all(sent)[0].upper()}{_all(sent)[1:]} succeeded"
    else:
        text = (
            f"{files['succeeded']:,} of {counted(sent, 'file')} succeeded, {' and '.join(rest) or 'the rest is open'}"
        )
    left = f"; {counted(files['skipped'], 'file')} had been left out before" if files["skipped"] else ""
    return f"{text}{left}."


def _all(number: int) -> str:
    if number == 1:
        return "the only file"
    return f"all {number:,} files"


def marks(report: Report) -> list[tuple[str, str]]:
    """Return what must not be overlooked: (title, text) each, the worst first."""
    summary, found = report.summary, list[tuple[str, str]]()
    batch, states = summary["batch"], summary["submissions"]
    if summary["duplicate_runs"]:
        number = summary["duplicate_runs"]
        known = [one.credits for one in report.duplicates if one.credits is not None]
        cost = f"; as far as that is known, {amount(sum(known))} credits were paid for that" if known else ""
        found.append(
            (
                f"{counted(number, 'run')} too many",
                f"The provider has {counted(number, 'run')} beside the ones that count{cost}. They are listed below.",
            )
        )
    if states["held"]:
        found.append(
            (
                f"{counted(states['held'], 'submission')} held",
                "Whether the provider has a run for them isn't known, and sending them again could pay twice."
                " A person decides: “paceline show SUBMISSION” tells how.",
            )
        )
    if report.unaudited:
        found.append(
            (
                "The closing audit is incomplete",
                f"The provider couldn't be asked about {counted(report.unaudited, 'submission')}; “paceline verify"
                f" {batch}” asks again.",
            )
        )
    if report.waits and summary["state"] != "complete":
        found.append(("It waits", report.waits[0].upper() + report.waits[1:]))
    return found


def checked(report: Report) -> str:
    """Say what the closing audit found, and how to look again."""
    summary = report.summary
    again = f"“paceline verify {summary['batch']}” holds manifest, ledger, provider and output against each other."
    if report.from_folder is not None:
        return "Read from the output alone; the ledger wasn't asked."
    if summary["state"] != "complete":
        return f"The closing audit comes when all runs have ended. {again}"
    if report.unaudited or summary["duplicate_runs"]:
        return f"The closing audit found something, see above. {again}"
    if not summary["submissions"]["total"]:
        return "Nothing was sent, so there was nothing to audit."
    return f"The closing audit found no run that isn't accounted for. {again}"
