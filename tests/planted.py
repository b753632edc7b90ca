"""The bugs that `make mutants` plants, each with the tests that are to catch it.

A text that a mutant replaces stands in its file exactly once. When the code around it changes, the mutant is changed
with it; one that no longer applies is an error, never skipped.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug to plant in `file`: of each pair in `edits`, the first text becomes the second.

    `harm` is what it would do to somebody who uses it; `tests` are node ids, as few and as quick as will do.
    """

    name: str
    harm: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def _crashes(*scenarios: str) -> tuple[str, ...]:
    name = "test_whatever_dies_every_submission_is_paid_for_once"
    return tuple(f"tests/fundamentals/test_crashes.py::{name}[{one}]" for one in scenarios)


def _put_back(*scenarios: str) -> tuple[str, ...]:
    name = "test_a_redis_put_back_to_an_older_state_costs_no_second_payment"
    return tuple(f"tests/fundamentals/test_crashes.py::{name}[put-back,-{one}]" for one in scenarios)


LEDGER = (
    Mutant(
        "no generation check",
        "a worker that was stopped and comes back changes what others have done meanwhile",
        "paceline/lua/ledger.lua",
        (("  if ARGV[2] ~= '' and row[2] ~= ARGV[2] then return nil, 'lost' end\n", ""),),
        (
            "tests/fundamentals/test_latecomers.py::test_a_late_word_about_an_earlier_request_says_nothing_about_the_one_under_way",
        ),
    ),
    Mutant(
        "no intent",
        "a worker that dies while it sends leaves no trace, and the next one pays again",
        "paceline/lua/begin.lua",
        (
            (
                "local generation = move('planned', 'submitting', lease, 'begin', { 'worker', ARGV[3] })",
                "local generation = ARGV[2]",
            ),
        ),
        _crashes("plain"),
    ),
    Mutant(
        "intent without a lease",
        "what a dead worker was sending waits for ever",
        "paceline/lua/begin.lua",
        (("local lease = now + tonumber(ARGV[4])", "local lease = now + 1e12"),),
        _crashes("plain"),
    ),
    Mutant(
        "another Redis trusted",
        "after a failover that lost the last writes, what they recorded is paid for again",
        "paceline/lua/begin.lua",
        (("if not pace.durable and server ~= '' and life ~= server then", "if false then"),),
        _put_back("another-server"),
    ),
    Mutant(
        "put back by anybody",
        "a request that another worker is sending counts as never sent",
        "paceline/lua/ledger.lua",
        (("  return (token or '') == '' or token == redis.call('HGET', KEYS[1], 'token')\n", "  return true\n"),),
        ("tests/fundamentals/test_latecomers.py::test_a_request_that_never_began_takes_nobody_elses_back",),
    ),
    Mutant(
        "second run taken silently",
        "a run that was paid for twice is in no report",
        "paceline/lua/accepted.lua",
        (
            (
                "if not verb or row[3] then\n",
                "if row[3] then return { 'ok', redis.call('HGET', KEYS[1], 'generation'), -1 } end\n"
                "if not verb or row[3] then\n",
            ),
        ),
        ("tests/fundamentals/test_following.py::test_an_extra_run_at_the_provider_is_reported_by_the_closing_audit",),
    ),
    Mutant(
        "fixed window",
        "twice the allowed rate where two windows meet, and refusals",
        "paceline/lua/pace.lua",
        (
            (
                "redis.call('ZREMRANGEBYSCORE', p.log, '-inf', now - p.window)",
                "redis.call('ZREMRANGEBYSCORE', p.log, '-inf', now - now % p.window)",
            ),
        ),
        ("tests/fundamentals/test_way_of_a_submission.py::test_the_pace_is_never_passed_and_nearly_reached",),
    ),
    Mutant(
        "a poll that lost reschedules itself",
        "a worker that was stopped ends or doubles the questions that another one asks by now",
        "paceline/lua/chain_next.lua",
        (("if not score or string.format('%.0f', score) ~= ARGV[2] then", "if false then"),),
        ("tests/fundamentals/test_latecomers.py::test_a_turn_that_lost_its_claim_neither_ends_nor_prolongs_the_chain",),
    ),
)

STEPS = (
    Mutant(
        "expired lease means not sent",
        "what a dead worker had sent is sent and paid for again",
        "paceline/steps/rescuing.py",
        (
            (
                "context.ledger.uncertain(item.id, item.generation, reason=reason, first_look_s=first_look_s)",
                "context.ledger.put_back(item.id, item.generation, reason=reason, unused=False)",
            ),
        ),
        ("tests/fundamentals/test_doubt.py::test_a_sender_that_dies_after_the_intent_leaves_a_doubt_not_a_second_run",),
    ),
    Mutant(
        "one empty list is proof",
        "one list that is wrongly empty, and the submission is paid for again",
        "paceline/steps/reconciling.py",
        (("LOOKS_NEEDED = 2", "LOOKS_NEEDED = 1"),),
        (
            "tests/fundamentals/test_doubt.py::test_one_empty_list_proves_nothing_even_past_the_settling_time_and_with_nothing_to_compare",
        ),
    ),
    Mutant(
        "no settling time",
        "a run that its provider lists a little late is paid for again",
        "paceline/steps/reconciling.py",
        (("settled = age_s >= context.waits.settle_s", "settled = True"),),
        ("tests/fundamentals/test_doubt.py::test_a_run_that_shows_up_late_is_found_before_anything_is_sent_again",),
    ),
    Mutant(
        "no positive control",
        "a provider whose lists are broken for an hour is paid again for all that is in doubt",
        "paceline/steps/reconciling.py",
        (("trusted = control is None or control in by_external", "trusted = True"),),
        (
            "tests/integration/test_provider_faults.py::test_lists_that_are_wrongly_empty_even_past_the_settling_time_prove_nothing",
        ),
    ),
    Mutant(
        "permit of any age",
        "a worker that was stopped sends with a permit that others have used meanwhile: refusals, or a second payment",
        "paceline/steps/submitting.py",
        (("        if age_s > life_s:\n", "        if False:\n"),),
        (
            "tests/fundamentals/test_doubt.py::test_a_permit_too_old_at_the_first_byte_is_handed_back_and_costs_no_attempt",
        ),
    ),
    Mutant(
        "note behind the request",
        "a request that is sent just before Redis falls back to an older state is paid for again",
        "paceline/steps/submitting.py",
        (
            (
                "    try:\n        context.spool.begun(request)\n    except SinkError as error:\n",
                "    try:\n        pass\n    except SinkError as error:\n",
            ),
            (
                "    follows = accept(context, request, accepted.run, accepted.digests, life_s)\n",
                "    context.spool.begun(request)\n"
                "    follows = accept(context, request, accepted.run, accepted.digests, life_s)\n",
            ),
        ),
        _crashes("plain"),
    ),
    Mutant(
        "forgotten request ignored",
        "a Redis that was put back to an older state pays for everything since once more",
        "paceline/steps/submitting.py",
        (("if latest is None or latest.generation <= item.begun_generation:", "if True:"),),
        _put_back("with-the-spool"),
    ),
    Mutant(
        "accepted run not spooled",
        "a worker that dies while Redis is away takes the number of the run with it",
        "paceline/steps/verdicts.py",
        (
            (
                "        context.spool.keep(verdict)\n    except SinkError as error:\n",
                "        pass\n    except SinkError as error:\n",
            ),
        ),
        ("tests/fundamentals/test_last_words.py::test_an_accepted_run_outlives_the_worker_that_was_told",),
    ),
    Mutant(
        "finished before its result is kept",
        "a worker that dies in between leaves a finished submission whose result nobody has",
        "paceline/steps/finishing.py",
        (
            (
                "    endings = keep(context, ended, finished_ms)\n    return reported(",
                "    context.ledger.finish([_ending(run, view, finished_ms) for run, view in ended])\n"
                "    endings = keep(context, ended, finished_ms)\n    return reported(",
            ),
        ),
        ("tests/fundamentals/test_last_words.py::test_a_finished_run_has_its_result_kept_already",),
    ),
    Mutant(
        "exported before the sink",
        "a worker that dies in between leaves a record that is nowhere",
        "paceline/steps/exporting.py",
        (
            (
                "        _write(context, one.whole.batch, part)\n",
                "        context.ledger.exported(one.item.id, one.item.generation)\n"
                "        _write(context, one.whole.batch, part)\n",
            ),
        ),
        (
            "tests/fundamentals/test_following.py::test_a_sink_that_fails_is_written_again_and_nothing_counts_as_exported_before",
        ),
    ),
    Mutant(
        "rebuilt as never sent",
        "after a lost Redis everything without a record is paid for again",
        "paceline/rebuilding.py",
        (("in_doubt=True", "in_doubt=False"),),
        ("tests/integration/test_rebuild.py::test_what_was_exported_is_restored_and_what_was_sent_is_found_again",),
    ),
)

EDGES = (
    Mutant(
        "5xx taken for a refusal",
        "a run that was accepted is reported as failed, and its result never fetched",
        "paceline/providers/answers.py",
        (("if 400 <= status < 500 and status not in UNCLEAR:", "if 400 <= status < 600 and status not in UNCLEAR:"),),
        ("tests/unit/test_http_answers.py::test_no_server_error_is_ever_taken_for_a_refusal",),
    ),
    Mutant(
        "5xx taken for not sent",
        "a gateway that gives up before its server does makes every slow upload cost twice",
        "paceline/providers/answers.py",
        (
            (
                "    return Ambiguous(told, http_status=status, body_sent=body_sent)\n",
                "    if status >= 500:\n"
                "        from paceline.errors import NotSent\n\n"
                "        return NotSent(told, http_status=status)\n"
                "    return Ambiguous(told, http_status=status, body_sent=body_sent)\n",
            ),
        ),
        ("tests/unit/test_http_answers.py::test_a_status_means_this_for_a_write",),
    ),
    Mutant(
        "a transport that repeats",
        "an answer that is lost on the way costs a second payment at once",
        "paceline/providers/http.py",
        (
            (
                '            response = self._carry("POST", path, params, exchange, headers, chunks)\n',
                "            try:\n"
                '                response = self._carry("POST", path, params, exchange, headers, chunks)\n'
                "            except httpx.TransportError:\n"
                "                chunks = exchange.send(body)\n"
                '                response = self._carry("POST", path, params, exchange, headers, chunks)\n',
            ),
        ),
        ("tests/unit/test_http_writes.py::test_whatever_happens_after_the_first_byte_leaves_the_outcome_open",),
    ),
    Mutant(
        "redirects followed",
        "one wrong answer sends requests, and starts runs, at an address that nobody asked for",
        "paceline/providers/http.py",
        (
            (
                "            response = exchange.line.transport.handle_request(request)\n",
                "            follower = httpx.Client(transport=exchange.line.transport, follow_redirects=True)\n"
                "            response = follower.send(request, stream=True)\n",
            ),
        ),
        ("tests/unit/test_http_writes.py::test_a_redirect_takes_the_key_nowhere_and_stops_the_account",),
    ),
    Mutant(
        "no deadline within a body",
        "a worker that was stopped past its lease goes on sending what another one has sent meanwhile",
        "paceline/providers/http.py",
        (("            self.deadline.check()\n            left -= len(chunk)\n", "            left -= len(chunk)\n"),),
        ("tests/unit/test_http_writes.py::test_a_clock_that_jumps_while_the_body_is_sent_ends_the_upload",),
    ),
    Mutant(
        "the key in an object's text",
        "a key in tracebacks and debug output",
        "paceline/providers/http.py",
        (('({self._base_url!r})"', '({self._base_url!r}, {self._key()!r})"'),),
        ("tests/unit/test_http_writes.py::test_the_key_is_in_no_repr_error_or_log_line",),
    ),
    Mutant(
        "the key in a message",
        "everybody who reads the queues has the key",
        "config/messages.py",
        (
            (
                '"ignore_result": True,',
                '"ignore_result": True, "headers": {"key": __import__("os").environ.get("KOLENA_API_KEY")},',
            ),
        ),
        ("tests/acceptance/test_run.py::test_no_key_appears_in_anything_that_is_left_behind",),
    ),
    Mutant(
        "the key in a log",
        "a key in log files that are shown to others",
        "config/masking.py",
        (('                    text = text.replace(form, f"[{name}]")\n', "                    pass\n"),),
        ("tests/unit/test_logs.py::test_a_secret_is_masked_in_every_way_that_a_line_may_write_it",),
    ),
    Mutant(
        "a note that isn't synced",
        "after a power cut, a request that was under way is forgotten by Redis and by the spool",
        "paceline/spool.py",
        (("            if durable:\n                os.fsync(now.file)\n", ""),),
        ("tests/unit/test_spool.py",),
    ),
    Mutant(
        "symlinks followed",
        "a file outside of the source is sent to the provider",
        "paceline/files.py",
        (("os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK"),),
        ("tests/integration/test_files.py::test_what_takes_the_files_place_at_the_last_moment_is_not_read",),
    ),
    Mutant(
        "append instead of put in place",
        "an export that is repeated leaves every record twice",
        "paceline/sinks/part_files.py",
        (
            (
                "        replace_atomically(self.path_of(part.submission), encode_part(part))\n",
                '        with open(self.path_of(part.submission), "ab") as file:\n'
                "            file.writelines(encode_part(part))\n",
            ),
        ),
        ("tests/contract/test_directory_sink.py::test_a_part_written_again_is_the_same_bytes",),
    ),
    Mutant(
        "_SUCCESS before the files",
        "a program that waits for _SUCCESS reads half of the results",
        "paceline/sinks/directory.py",
        (
            (
                '        replace_atomically(str(self.path / SUCCESS), [closing.batch.encode() + b"\\n"])\n',
                "",
            ),
            (
                "            for final in finals.values():\n                final.publish()\n",
                '            replace_atomically(str(self.path / SUCCESS), [closing.batch.encode() + b"\\n"])\n'
                "            for final in finals.values():\n                final.publish()\n",
            ),
        ),
        ("tests/contract/test_directory_sink.py::test_a_commit_that_breaks_off_between_two_files_does_not_count",),
    ),
)

OPERATOR = (
    Mutant(
        "cap blind to what is under way",
        "more runs are started, and paid for, than --max-runs allows",
        "paceline/lua/begin.lua",
        (("  local open = n(5) + n(6)\n", "  local open = 0\n"),),
        ("tests/fundamentals/test_caps.py::test_what_may_have_been_started_counts_until_it_is_known",),
    ),
    Mutant(
        "credits counted only once spent",
        "the runs under way pass --max-credits together",
        "paceline/lua/begin.lua",
        (("spent + n(10) * (under_way + 1) > most", "spent + n(10) > most"),),
        ("tests/fundamentals/test_caps.py::test_credits_are_never_passed_once_the_price_is_known",),
    ),
    Mutant(
        "half open lets everybody go",
        "a provider that has just come back, or only half, gets the whole pace at once",
        "paceline/lua/circuit.lua",
        (("  if c[3] and c[3] ~= id and", "  if false and"),),
        ("tests/fundamentals/test_outage.py::test_one_submission_tries_before_the_others_go_on",),
    ),
    Mutant(
        "deleted before it is kept",
        "what a cancelled run had returned, and was paid for, is lost when the worker dies",
        "paceline/steps/cancelling.py",
        (
            (
                "    endings = keep(context, [(due, ended)], now_ms, suffix=PARTIAL)\n",
                "    account.provider.delete(batch.agent, run_id)\n"
                "    endings = keep(context, [(due, ended)], now_ms, suffix=PARTIAL)\n",
            ),
        ),
        ("tests/fundamentals/test_cancel.py::test_a_worker_that_dies_while_cancelling_loses_nothing",),
    ),
    Mutant(
        "waiting calls by the other class's permits",
        "add-and-wait is refused with 429, as its limit is far lower",
        "paceline/starting.py",
        (
            (
                "    return (EndpointClass.WAIT, wait_s) if wait_s else",
                "    return (EndpointClass.ADD, wait_s) if wait_s else",
            ),
        ),
        ("tests/fundamentals/test_waiting.py::test_the_class_that_waits_has_its_own_pace_and_leaves_the_other_alone",),
    ),
)

NIGHTS = (
    Mutant(
        "a due time decided twice",
        "two beats decide on the same look, and a night that was left out is started, or one is left out unseen",
        "paceline/lua/night_claim.lua",
        (("  if redis.call('HGET', KEYS[1], 'decided_ms') ~= ARGV[7] then return 0 end\n", ""),),
        ("tests/integration/test_nights.py::test_who_decided_on_an_older_view_is_refused",),
    ),
    Mutant(
        "a night's batch by its settings",
        "editing a schedule while its night is planned pays for the same files twice",
        "paceline/model.py",
        (
            (
                "            parts = [SCHEDULE, night, self.account, self.provider, self.agent]\n",
                "            parts.append(night)\n",
            ),
        ),
        ("tests/unit/test_schedule_settings.py::test_a_nights_batch_is_known_by_schedule_and_due_time",),
    ),
    Mutant(
        "a carrier that keeps what it lost",
        "two processes plan the same night at once, and both say how it ended",
        "paceline/lua/night_take.lua",
        (
            (
                "  if row[1] ~= 'starting' or row[2] ~= ARGV[1] then return 0 end\n",
                "  if row[1] ~= 'starting' then return 0 end\n",
            ),
        ),
        ("tests/integration/test_nights.py::test_a_holder_who_is_silent_is_replaced_and_then_has_no_say",),
    ),
    Mutant(
        "a form without its token",
        "any page that somebody looks at can cancel batches, or send failed ones again",
        "monitor/handlers.py",
        (("        RequestHandler.check_xsrf_cookie(self)\n", ""),),
        ("tests/integration/test_flower_pages.py::test_forged_forms_change_nothing",),
    ),
    Mutant(
        "a takeover unseen",
        "workers of two formats write to one ledger, each in its own way",
        "paceline/formats.py",
        (("  if format and format ~= '{FORMAT_VERSION}' then", "  if format and format == '0' then"),),
        (
            "tests/integration/test_versions.py::test_what_a_provider_answered_after_a_takeover_waits_for_the_version_that_can_take_it",
        ),
    ),
)

MUTANTS = (*LEDGER, *STEPS, *EDGES, *OPERATOR, *NIGHTS)
