"""How an answer reaches the client, or doesn't: faults before the body is read, and faults after the work is done."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn
from uuid import uuid4

from sandbox.agent import to_json
from sandbox.answers import GATEWAY_PAGE, HTML, Answer, error, phrase
from sandbox.exchange import Ended, Exchange
from sandbox.fault_kinds import Stage
from sandbox.faults import Fault

_PIECE = b" " * 65_536
_BLOCK = b" " * 1_048_576


async def strike_at_head(exchange: Exchange) -> NoReturn:
    """Carry out a fault that strikes before the body is read; always ends the exchange."""
    fault = exchange.strike()
    given = fault.parameters
    if fault.kind == "drop_before":
        exchange.connection.drop()
        raise Ended("dropped")
    if fault.kind == "hang_before":
        await exchange.pause(given["seconds"])
        exchange.connection.drop()
        raise Ended("dropped")
    if fault.kind == "early_413":
        answer = exchange.dialect.say(413, "Request Entity Too Large", ())
    elif fault.kind == "redirect":
        answer = Answer(given["code"], b"", None, ((b"location", given["location"].encode()),))
    else:
        answer = error(given["code"], given["body"], given["retry_after"], say=exchange.dialect.say)
    await _late(exchange)
    await exchange.answer(answer)


async def deliver(exchange: Exchange, answer: Answer) -> NoReturn:
    """Send the handler's answer, through whatever fault the request drew; always ends the exchange."""
    fault = exchange.fault
    if answer.run_id is not None:
        exchange.entry.run_id = answer.run_id
    if fault is not None and fault.stage is Stage.ACCEPT and answer.run_id is not None:
        answer = await _after_accepting(exchange, answer)
    await _late(exchange)
    if fault is not None and fault.stage is Stage.ANSWER:
        exchange.strike()
        if fault.kind == "slow_loris":
            await _drip(exchange, answer, fault.parameters["bytes"], fault.parameters["interval"])
        elif fault.kind == "huge":
            await _pad(exchange, answer, fault.parameters["bytes"], chunked=bool(fault.parameters["chunked"]))
        else:
            bomb = await asyncio.to_thread(_bomb, answer.body, fault.parameters["bytes"])
            answer = Answer(answer.status, bomb, answer.content_type, (*answer.headers, (b"content-encoding", b"gzip")))
    await exchange.answer(answer)


def accept_later(exchange: Exchange, late: Fault, accept: Callable[[], int | str]) -> Answer:
    """Carry out an ``accept_late``: ``accept``, which creates the run and gives its id, is called after a while."""

    def accept_now() -> None:
        exchange.entry.run_id = accept()
        exchange.world.log.note_late(exchange.entry)

    asyncio.get_running_loop().call_later(late.parameters["seconds"], accept_now)
    if late.parameters["code"]:
        return error(late.parameters["code"], "html")
    exchange.connection.drop()
    raise Ended("dropped")


async def _after_accepting(exchange: Exchange, answer: Answer) -> Answer:
    assert exchange.fault is not None
    kind, given = exchange.fault.kind, exchange.fault.parameters
    exchange.strike()
    if kind == "accept_then_status":
        wrong = error(given["code"], given["body"], given["retry_after"], say=exchange.dialect.say)
        return Answer(wrong.status, wrong.body, wrong.content_type, wrong.headers, answer.run_id)
    if kind == "accept_then_html":
        page = GATEWAY_PAGE % ((given["code"], phrase(given["code"])) * 2)
        return Answer(given["code"], page, HTML, run_id=answer.run_id)
    if kind == "accept_then_terse":
        told = {name: value for name, value in json.loads(answer.body).items() if name in ("run_id", "runId")}
        return Answer(given["code"], to_json(told), run_id=answer.run_id)
    if kind == "accept_then_wrong_ids":
        return answer.with_body(to_json(_with_wrong_ids(json.loads(answer.body), given["what"])))
    if kind == "accept_then_truncate":
        await exchange.connection.write(answer.raw(answer.body[: len(answer.body) // 2]))
        exchange.connection.drop()
        raise Ended("truncated", answer.status)
    if kind == "accept_then_hang":
        await exchange.pause(given["seconds"])
    if kind == "accept_then_reset":
        exchange.connection.reset()
        raise Ended("reset")
    exchange.connection.drop()
    raise Ended("dropped")


def _with_wrong_ids(run: dict[str, Any], what: str) -> dict[str, Any]:
    if "runId" in run:
        return _with_wrong_uuids(run, what)
    if what == "text":
        return {**run, "run_id": str(run["run_id"]), "agent_id": str(run["agent_id"])}
    if what == "missing":
        return {name: value for name, value in run.items() if name != "run_id"}
    if what == "external_id":
        return {**run, "user_defined_id": "somebody-else"}
    return {**run, what: run[what] + 1_000_000}


def _with_wrong_uuids(run: dict[str, Any], what: str) -> dict[str, Any]:
    if what == "text":
        return {**run, "runId": "../agents/list"}  # what is put into a path unquoted leads elsewhere
    if what == "missing":
        return {name: value for name, value in run.items() if name != "runId"}
    if what == "external_id":
        return run
    return {**run, {"run_id": "runId", "agent_id": "agentId"}[what]: str(uuid4())}


async def _late(exchange: Exchange) -> None:
    if exchange.delay_s:
        exchange.entry.fault = exchange.entry.fault or "delay"
        await exchange.pause(exchange.delay_s)


async def _drip(exchange: Exchange, answer: Answer, n_bytes: int, interval_s: float) -> NoReturn:
    raw = answer.raw()
    for start in range(0, len(raw), max(n_bytes, 1)):
        if start:
            await exchange.pause(interval_s)
        await exchange.connection.write(raw[start : start + max(n_bytes, 1)])
    exchange.connection.hang_up()
    raise Ended("answered", answer.status)


async def _pad(exchange: Exchange, answer: Answer, n_bytes: int, *, chunked: bool) -> NoReturn:
    padding = max(n_bytes - len(answer.body), 0)
    lines = [b"HTTP/1.1 %d %b" % (answer.status, phrase(answer.status)), b"content-type: application/json"]
    lines.append(b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (padding + len(answer.body)))
    await exchange.connection.write(b"\r\n".join([*lines, b"connection: close", b"", b""]))
    while padding and not exchange.connection.gone:
        piece = _PIECE[: min(padding, len(_PIECE))]
        padding -= len(piece)
        await exchange.connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await asyncio.sleep(0)  # others have requests too
    if chunked:
        await exchange.connection.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer.body), answer.body))
    else:
        await exchange.connection.write(answer.body)
    exchange.connection.hang_up()
    raise Ended("answered", answer.status)


def _bomb(body: bytes, n_bytes: int) -> bytes:
    """Compress the body behind so many spaces that it becomes ``n_bytes`` again."""
    padding = max(n_bytes - len(body), 0)
    blocks, rest = divmod(padding, len(_BLOCK))
    tail = b" " * rest + body
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    end = packer.compress(tail) + packer.flush()
    checksum = zlib.crc32(tail, _checksum(blocks))
    size = (padding + len(body)) & 0xFFFFFFFF
    header = gzip.compress(b"", mtime=0)[:10]
    return header + _packed_block() * blocks + end + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


@lru_cache
def _packed_block() -> bytes:
    """Compress a block so that copies of it can stand one behind the other: a full flush ends on a whole byte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(_BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)


@lru_cache
def _checksum(blocks: int) -> int:
    checksum = 0
    for _ in range(blocks):
        checksum = zlib.crc32(_BLOCK, checksum)
    return checksum
