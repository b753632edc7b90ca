"""Every Redis key, with its type, what it holds and how long it lives.

Nothing else in the project spells a key. `{…}` below stands for an id. "Permanent" keys live until their batch is
collected; every other key carries a TTL. Lua scripts get their keys from here, as KEYS or as `%s` templates.

| key | type | holds | lives |
|---|---|---|---|
| `pl:meta` | hash | format version of the ledger | permanent |
| `pl:batches` | zset | batch ids by creation time (ms) | permanent |
| `pl:accounts` | set | accounts that ever had a batch | permanent |
| `pl:removing` | hash | batches whose keys are being removed, with the number of their submissions | permanent |
| `pl:forgotten` | hash | batch that was complete and is removed → destinations, summary | permanent |
| `pl:b:{batch}` | hash | the batch: spec, counters, totals | permanent |
| `pl:b:{batch}:planned` | zset | planned submissions not released, by index | permanent |
| `pl:b:{batch}:journal` | stream | every transition, in order | permanent |
| `pl:b:{batch}:halves` | zset | halves of submissions that failed, by index | permanent |
| `pl:b:{batch}:ended` | zset | submissions that didn't succeed, as `reason LF id` | permanent |
| `pl:s:{submission}` | hash | the submission: state, generation, facts | permanent |
| `pl:s:{submission}:files` | string | its files, zlib-compressed JSON | permanent |
| `pl:s:{submission}:digests` | string | SHA-256 of the bytes sent, 32 bytes a file | an hour past export |
| `pl:a:{account}` | hash | address, pause with its reason, fair-share clock, tallies (`t:…`) | permanent |
| `pl:a:{account}:feed` | zset | batches with planned submissions, by fair-share time | permanent |
| `pl:a:{account}:released` | zset | released submissions not begun, by when to release them again (ms) | permanent |
| `pl:a:{account}:pace:{class}` | zset | permits granted, by time (ms) | two windows |
| `pl:a:{account}:pace:{class}:state` | hash | closed until, learned limit, clock guards, permits by minute | a day |
| `pl:g:{account}:{agent}:due` | zset | running submissions by next due time (ms) | permanent |
| `pl:g:{account}:{agent}:runs` | hash | submission → run id, generation, start | permanent |
| `pl:g:{account}:{agent}:uncertain` | zset | uncertain submissions by next look (ms) | permanent |
| `pl:g:{account}:{agent}:known` | hash | one accepted run, the positive control of lists | permanent |
| `pl:g:{account}:{agent}:gap` | string | no list call before this time (ms) | a minute |
| `pl:g:{account}:{agent}:hinted` | zset | what hints made due, by when (ms); `*` bare hint, `!` wake-up | a minute |
| `pl:known` | hash | scope of answered files → what it is for, the batch and time noted last | permanent |
| `pl:known:{scope}:{bucket}` | set | 64-bit marks of answered files and contents, see `known.py` | permanent |
| `pl:leases` | zset | submitting submissions by lease end (ms) | permanent |
| `pl:exports` | zset | finished submissions by the time to wake their export again (ms) | permanent |
| `pl:held` | zset | held submissions by time (ms) | permanent |
| `pl:chains` | zset | self-rescheduling chains by due time (ms) | permanent |
| `pl:chains:woken` | hash | chain → wake-up that came while its turn was under way (ms) | permanent |
| `pl:chains:holders` | hash | chain → worker whose turn is under way | permanent |
| `pl:workers` | zset | workers by the end of their sign of life (ms) | permanent |
| `pl:worker:{id}` | string | a live worker: roles, host, version | 15 s |
| `pl:schedule:{name}` | hash | a schedule: cron and zone, the last due time decided on (ms), pause | 400 days unseen |
| `pl:schedule:{name}:nights` | zset | its nights by due time (ms), the last hundred | 400 days |
| `pl:night:{name}:{due}` | hash | a night: what was asked, state, lease, batch, what was told | 400 days |
| `pl:beats` | zset | processes that send ticks by the end of their sign of life (ms) | permanent |
| `pl:hook:{account}:{digest}` | string | a webhook's delivery that has been taken | ten minutes |
"""

from __future__ import annotations

from paceline.model import EndpointClass, batch_of

PREFIX = "pl:"

META = PREFIX + "meta"
BATCHES = PREFIX + "batches"
ACCOUNTS = PREFIX + "accounts"
REMOVING = PREFIX + "removing"
FORGOTTEN = PREFIX + "forgotten"
KNOWN_SCOPES = PREFIX + "known"
LEASES = PREFIX + "leases"
EXPORTS = PREFIX + "exports"
HELD = PREFIX + "held"
CHAINS = PREFIX + "chains"
HOLDERS = CHAINS + ":holders"
WORKERS = PREFIX + "workers"
BEATS = PREFIX + "beats"


def batch(batch: str) -> str:
    """The batch's hash."""
    return f"{PREFIX}b:{batch}"


def planned(batch: str) -> str:
    """The batch's planned submissions."""
    return f"{PREFIX}b:{batch}:planned"


def journal(batch: str) -> str:
    """The batch's journal."""
    return f"{PREFIX}b:{batch}:journal"


def halves(batch: str) -> str:
    """The batch's halves."""
    return f"{PREFIX}b:{batch}:halves"


def ended(batch: str) -> str:
    """The batch's submissions that didn't succeed, by reason. Scripts build it from the batch's key."""
    return f"{PREFIX}b:{batch}:ended"


def submission(submission: str) -> str:
    """The submission's hash."""
    return f"{PREFIX}s:{submission}"


def files(submission: str) -> str:
    """The submission's files."""
    return f"{PREFIX}s:{submission}:files"


def digests(submission: str) -> str:
    """The digests of what was sent."""
    return f"{PREFIX}s:{submission}:digests"


def account(account: str) -> str:
    """The account's hash."""
    return f"{PREFIX}a:{account}"


def feed(account: str) -> str:
    """The account's batches that can be fed."""
    return f"{PREFIX}a:{account}:feed"


def released(account: str) -> str:
    """The account's released submissions."""
    return f"{PREFIX}a:{account}:released"


def pace_log(account: str, endpoint: EndpointClass) -> str:
    """The permits of one account and endpoint class."""
    return f"{PREFIX}a:{account}:pace:{endpoint}"


def pace_state(account: str, endpoint: EndpointClass) -> str:
    """What else the limiter knows of one account and endpoint class."""
    return f"{PREFIX}a:{account}:pace:{endpoint}:state"


def due(account: str, agent: str) -> str:
    """The agent's running submissions."""
    return f"{PREFIX}g:{account}:{agent}:due"


def runs(account: str, agent: str) -> str:
    """What a poll needs to know of each running submission."""
    return f"{PREFIX}g:{account}:{agent}:runs"


def uncertain(account: str, agent: str) -> str:
    """The agent's uncertain submissions."""
    return f"{PREFIX}g:{account}:{agent}:uncertain"


def known(account: str, agent: str) -> str:
    """The agent's positive control."""
    return f"{PREFIX}g:{account}:{agent}:known"


def known_marks(scope: str, bucket: int) -> str:
    """One of the sets that hold a scope's marks."""
    return f"{KNOWN_SCOPES}:{scope}:{bucket:x}"


def gap(account: str, agent: str) -> str:
    """The agent's earliest next list call."""
    return f"{PREFIX}g:{account}:{agent}:gap"


def hinted(account: str, agent: str) -> str:
    """What hints have made due lately."""
    return f"{PREFIX}g:{account}:{agent}:hinted"


def delivery(account: str, digest: str) -> str:
    """The mark of a webhook's delivery, by a digest of its id."""
    return f"{PREFIX}hook:{account}:{digest}"


def schedule(name: str) -> str:
    """What is known of a schedule."""
    return f"{PREFIX}schedule:{name}"


def nights(name: str) -> str:
    """The schedule's nights."""
    return f"{PREFIX}schedule:{name}:nights"


def night(name: str, due_ms: int | str) -> str:
    """One night of a schedule."""
    return f"{PREFIX}night:{name}:{due_ms}"


def worker(worker: str) -> str:
    """A worker's sign of life."""
    return f"{PREFIX}worker:{worker}"


def way(submission_id: str, account_name: str, agent: str) -> list[str]:
    """The KEYS that every script moving one submission gets, in the order `lua/ledger.lua` describes."""
    of = batch_of(submission_id)
    return [
        submission(submission_id),
        batch(of),
        journal(of),
        planned(of),
        released(account_name),
        LEASES,
        uncertain(account_name, agent),
        due(account_name, agent),
        runs(account_name, agent),
        EXPORTS,
        HELD,
        CHAINS,
        feed(account_name),
        account(account_name),
        known(account_name, agent),
        gap(account_name, agent),
    ]


PERMANENT = (
    r"pl:meta",
    r"pl:batches",
    r"pl:accounts",
    r"pl:b:[^:]+(:planned|:journal|:halves|:ended)?",
    r"pl:s:[^:]+(:files|:digests)?",
    r"pl:a:[^:]+(:feed|:released)?",
    r"pl:g:.+:(due|runs|uncertain|known)",
    r"pl:(leases|exports|held|chains|chains:woken|chains:holders|workers)",
    r"pl:(removing|forgotten|beats)",
    r"pl:known(:[0-9a-f]+:[0-9a-f]+)?",
)
"""Patterns of the keys that may live without a TTL: until their batch is collected, or what they know is forgotten."""
