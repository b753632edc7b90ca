"""The Kolena Agents API as far as it is public; see API-CONTRACT §1.

All keys see all runs: several keys are several users of one organization.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.routing import Route

from sandbox.answers import Answer, detail
from sandbox.delivery import accept_later
from sandbox.exchange import Ended, Exchange
from sandbox.fault_kinds import Stage
from sandbox.gate import Gate
from sandbox.invalid import Invalid, Query, moment_us, path_integer, problem
from sandbox.kolena_reads import get_agent, get_run, list_agents, list_runs, list_usage
from sandbox.runs import Run
from sandbox.uploads import Upload, UploadError, UploadReader, boundary_of, read_upload
from sandbox.world import World

PREFIX = "/api/v1/client"
MAX_WAIT_S = 120

Handler = Callable[[Exchange, Mapping[str, str]], Awaitable[Answer]]


def routes(world: World) -> list[Route]:
    """Give the API's endpoints; agents and usage answer with and without a slash at the end."""
    runs = f"{PREFIX}/agents/{{agent_id}}/runs"
    found = [
        Route(runs, Gate(world, "add", checked(add_run)), methods=["POST"]),
        Route(f"{runs}/wait", Gate(world, "wait", checked(add_run_and_wait)), methods=["POST"]),
        Route(runs, Gate(world, "list", checked(list_runs)), methods=["GET"]),
        Route(f"{runs}/{{run_id}}", Gate(world, "get", checked(get_run)), methods=["GET"]),
        Route(f"{runs}/{{run_id}}", Gate(world, "delete", checked(delete_run)), methods=["DELETE"]),
    ]
    for path, handler in (("/agents", list_agents), ("/agents/{agent_id}", get_agent), ("/usage", list_usage)):
        gate = Gate(world, "other", checked(handler))
        found += [Route(PREFIX + path + slash, gate, methods=["GET"]) for slash in ("", "/")]
    return found


def checked(handler: Handler) -> Handler:
    """Answer what the handler finds invalid."""

    async def answer(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
        try:
            return await handler(exchange, parameters)
        except Invalid as invalid:
            return invalid.answer()

    return answer


async def add_run(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Read the upload, create a run, and show it."""
    run = await _accept(exchange, parameters)
    return run if isinstance(run, Answer) else _shown(exchange, run)


async def add_run_and_wait(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Do as ``add_run``, but show the run when it has finished or ``timeout`` seconds have passed."""
    timeout_s = Query(exchange.scope["query_string"]).integer("timeout", MAX_WAIT_S, 1, MAX_WAIT_S)
    run = await _accept(exchange, parameters)
    if isinstance(run, Answer):
        return run
    if exchange.fault is None or exchange.fault.stage is not Stage.ACCEPT:
        await _wait_for(exchange, run, timeout_s)
    return _shown(exchange, run)


async def delete_run(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Forget a run, a running one too: what the vendor does then is undocumented."""
    agent_id, run_id = path_integer(parameters, "agent_id"), path_integer(parameters, "run_id")
    exchange.entry.run_id = run_id
    run = exchange.world.runs.get(agent_id, run_id)
    if run is None:
        return detail(404, "Run not found")
    exchange.world.runs.delete(run)
    return Answer(204, content_type=None)


def _shown(exchange: Exchange, run: Run) -> Answer:
    return Answer(200, run.to_json(exchange.world.clock.monotonic()), run_id=run.run_id)


async def _accept(exchange: Exchange, parameters: Mapping[str, str]) -> Run | Answer:
    agent_id = path_integer(parameters, "agent_id")
    if agent_id not in exchange.world.agents:
        return detail(404, "Agent not found")
    upload = await _upload(exchange)
    external_id = upload.fields.get("user_defined_id")
    exchange.entry.external_id = external_id
    if exchange.request_class == "add" and upload.fields.get("due_date"):
        moment_us(upload.fields["due_date"], ("body", "due_date"))
    if not upload.files:
        raise Invalid(problem("missing", ("body", "files"), "Field required", None))
    late = exchange.draws("accept_late")
    if late is None:
        run = exchange.world.accept(agent_id, external_id, upload.files, exchange.request_class)
        exchange.entry.run_id = run.run_id
        return run
    accept = exchange.world.accept
    return accept_later(
        exchange, late, lambda: accept(agent_id, external_id, upload.files, exchange.request_class).run_id
    )


async def _upload(exchange: Exchange) -> Upload:
    """Read the body; raise Invalid when it breaks a rule, before the rest of it is read where that is known."""
    boundary = boundary_of(exchange.headers.get(b"content-type", b""))
    if boundary is None:
        async for _ in exchange.chunks():
            pass
        raise Invalid(problem("missing", ("body", "files"), "Field required", None))
    options = exchange.world.options
    reader = UploadReader(boundary, max_files=options.max_files, max_file_bytes=options.max_file_bytes)
    try:
        return await read_upload(reader, exchange.chunks())
    except UploadError as upload_error:
        raise Invalid(_problem(upload_error, options.max_files, options.max_file_bytes)) from upload_error
    finally:
        exchange.entry.external_id = reader.upload.fields.get("user_defined_id")
        exchange.world.log.note_files(exchange.entry, reader.upload.files)


def _problem(found: UploadError, max_files: int, max_file_bytes: int) -> dict[str, object]:
    place = ("body", "files")
    if found.kind == "too_many_files":
        msg = f"List should have at most {max_files} items after validation, not {max_files + 1}"
        return problem(
            "too_long", place, msg, None, field_type="List", max_length=max_files, actual_length=max_files + 1
        )
    if found.kind == "file_too_large":
        msg = f"Value error, file is larger than {max_file_bytes} bytes"
        return problem("value_error", place, msg, found.detail, error={})
    return problem("value_error", ("body",), found.detail, None, error={})


async def _wait_for(exchange: Exchange, run: Run, timeout_s: float) -> None:
    clock, moved = exchange.world.clock.monotonic, exchange.world.runs_moved
    until_s = clock() + timeout_s
    while (now_s := clock()) < min(until_s, run.finish_s):
        await moved.wait(min(until_s, run.finish_s) - now_s)
        if exchange.connection.gone:
            raise Ended("client_left")
