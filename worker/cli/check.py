"""`check`: settings, open files, paths, outputs, token, health, clock; each line ok or what is wrong and what to do."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio
import typer

from worker import fleet, sinks, sources
from worker.brokers.references import references_of
from worker.cli.console import stdout
from worker.cli.logfile import unlogged
from worker.cli.options import Config, add_command, settings_from
from worker.cli.places import Finding, look_at_file, look_at_folder, look_at_input
from worker.diagnosis import health_advice, token_advice
from worker.errors import (
    CredentialsRefused,
    FleetUnavailable,
    SettingsError,
    SourceUnavailable,
    StateError,
    TokenUnavailable,
    WorkerError,
)
from worker.flow.quota import limits_of
from worker.ledger import is_shared, read_state
from worker.openfiles import provide_open_files
from worker.paths import kind_at
from worker.precheck import open_client
from worker.settings import FlowSettings, InputSettings, Settings, warnings_of

EPILOG = """Examples:

  precheck-worker check --config config/sandbox.toml"""

TOO_FAR_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "check", check, EPILOG)


def check(config: Config = None) -> int:
    """See whether the worker could work: settings, paths, outputs, token, health, clock. Nothing is sent or changed.

    The exit code is 0 if all is well, otherwise that of the first thing that is not: 2, 3 or 4.
    """
    settings = settings_from(config)
    findings = [Finding("settings", ok=True, detail=f"environment {settings.environment}")]
    findings += [Finding("settings", ok=True, detail=f"note: {warning}") for warning in warnings_of(settings)]
    findings.append(_open_files(settings))
    findings += _paths(settings)
    findings += _state(settings)
    with unlogged():
        findings += anyio.run(_servers, settings)
        findings += anyio.run(_service, settings)
    console = stdout()
    for finding in findings:
        console.print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:<9} {finding.detail}")
    return next((finding.code for finding in findings if not finding.ok), 0)


def _open_files(settings: Settings) -> Finding:
    try:
        allowed = provide_open_files(settings.flow.max_in_flight)
    except SettingsError as error:
        return Finding("files", ok=False, detail=str(error), code=2)
    return Finding("files", ok=True, detail="any number" if allowed < 0 else f"up to {allowed:,} open at once")


def _paths(settings: Settings) -> Iterator[Finding]:
    try:
        sources.from_url(settings.input.url, settings.input)
        for url in settings.output.urls:
            sinks.from_url(url)
    except SettingsError as error:
        yield from (Finding("paths", ok=False, detail=problem, code=2) for problem in error.problems)
        return
    scheme, _, rest = settings.input.url.partition(":")
    if scheme == "dir":
        yield look_at_input(Path(rest))
    for url in settings.output.urls:
        scheme, _, rest = url.partition(":")
        if scheme == "jsonl":
            yield look_at_file("output", Path(rest.partition("?")[0]))
        elif scheme == "edi":
            yield look_at_folder("output", Path(rest))


async def _fleet(flow: FlowSettings) -> Iterable[Finding]:
    """See whether the limits that a fleet shares can be asked for."""
    if not flow.shared_url:
        return []
    try:
        shared = fleet.from_url(flow.shared_url, limits_of(flow), lease_s=flow.shared_lease_s)
    except SettingsError as error:
        return [Finding("fleet", ok=False, detail=problem, code=2) for problem in error.problems]
    try:
        await shared.open()
    except SettingsError as error:
        return [Finding("fleet", ok=False, detail=problem, code=2) for problem in error.problems]
    except FleetUnavailable as error:
        return [Finding("fleet", ok=False, detail=f"{error}; the worker goes by its share until then", code=3)]
    finally:
        await shared.close()
    return [Finding("fleet", ok=True, detail="shared limits can be asked for")]


async def _input(settings: InputSettings) -> list[Finding]:
    """See whether the broker of the input, and what messages may refer to, are as they must be; nothing is taken."""
    try:
        inlet = sources.inlet_from_url(settings.url, settings)
        references = references_of(settings)
    except SettingsError:
        return []  # told with the paths
    if inlet is None:
        return []
    try:
        await inlet.open(create=False)
        await references.look()
    except SettingsError as error:
        return [Finding("input", ok=False, detail=problem, code=2) for problem in error.problems]
    except (SourceUnavailable, StateError) as error:
        return [Finding("input", ok=False, detail=f"{error}; the worker waits for it", code=3)]
    finally:
        await inlet.close()
        await references.close()
    return [Finding("input", ok=True, detail=inlet.shown)]


async def _servers(settings: Settings) -> list[Finding]:
    """See whether brokers and databases can be reached; what is missing is told, not made."""
    findings = [*await _input(settings.input), *await _fleet(settings.flow)]
    for url in settings.output.urls:
        try:
            sink = sinks.from_url(url)
        except SettingsError:
            continue  # told with the paths
        if not isinstance(sink, sinks.PublishingSink):
            continue
        try:
            await sink.reach()
        except SettingsError as error:
            findings += [Finding("output", ok=False, detail=problem, code=2) for problem in error.problems]
        except StateError as error:
            findings.append(Finding("output", ok=False, detail=f"{error}; the worker waits for it", code=3))
        else:
            findings.append(Finding("output", ok=True, detail=sink.name))
        finally:
            await sink.close()
    return findings


def _state(settings: Settings) -> Iterable[Finding]:
    if is_shared(settings.state):
        return _shared_state(settings)
    return [_file_of_state(settings)]


def _shared_state(settings: Settings) -> list[Finding]:
    try:
        claims = anyio.run(_count_claims, settings)
    except SettingsError as error:
        return [Finding("state", ok=False, detail=problem, code=2) for problem in error.problems]
    except StateError as error:
        return [Finding("state", ok=False, detail=str(error), code=3)]
    return [Finding("state", ok=True, detail=f"a ledger that a fleet shares, {claims:,} claims in it")]


def _file_of_state(settings: Settings) -> Finding:
    path = Path(settings.state.url.partition(":")[2])
    places = [look_at_file("state", path), look_at_folder("state", path.parent)]
    try:
        claims = anyio.run(_count_claims, settings) if kind_at(path) != "nothing" else None
    except OSError:
        return places[0]  # which says why
    except StateError as error:
        return Finding("state", ok=False, detail=str(error), code=3)
    wrong = next((place for place in places if not place.ok), None)
    return wrong or Finding(
        "state", ok=True, detail=places[1].detail if claims is None else f"{path}, {claims:,} claims in it"
    )


async def _count_claims(settings: Settings) -> int:
    async with read_state(settings.state) as ledger:
        return sum((await ledger.totals()).values())


async def _service(settings: Settings) -> list[Finding]:
    """Get a token, ask the health endpoint, compare the clocks."""
    try:
        async with open_client(settings) as client:
            try:
                await client.authorize()
            except CredentialsRefused as refused:
                return [Finding("token", ok=False, detail=str(refused), code=4)]
            except TokenUnavailable as unavailable:
                detail = f"{unavailable}; {token_advice(unavailable.code)}"
                return [Finding("token", ok=False, detail=detail, code=2)]
            health = await client.ask_health()
    except SettingsError as error:
        return [Finding("service", ok=False, detail=problem, code=2) for problem in error.problems]
    except WorkerError as error:
        return [Finding("service", ok=False, detail=str(error), code=2)]
    return [Finding("token", ok=True, detail="granted"), *_judged(health.status, health.code, health.clock_ahead_s)]


def _judged(status: int | None, code: str | None, clock_ahead_s: float | None) -> Iterator[Finding]:
    if status == 200:
        yield Finding("health", ok=True, detail="HTTP 200")
    else:
        told = f"HTTP {status}" if status is not None else code
        advice, exit_code = health_advice(status, code)
        yield Finding("health", ok=False, detail=f"{told}; {advice}", code=exit_code)
    if clock_ahead_s is None:
        return
    if abs(clock_ahead_s) <= TOO_FAR_S:
        yield Finding("clock", ok=True, detail=f"{clock_ahead_s:+.0f} s against the service")
    else:
        detail = f"{clock_ahead_s:+.0f} s against the service; tokens may be refused: set this machine's clock (NTP)"
        yield Finding("clock", ok=False, detail=detail, code=2)
