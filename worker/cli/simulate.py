"""`simulate`: the API to test against, alone."""

import signal
from functools import partial
from typing import Annotated, Any, get_args

import anyio
import msgspec
import typer

from worker.cli.console import rows_table, stderr, stdout
from worker.cli.options import add_command
from worker.errors import SettingsError, reason_of
from worker.simulator.app import serve
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.profiles import PROFILES, profile

EPILOG = """Examples:

  precheck-worker simulate

  precheck-worker simulate --profile flaky --port 8400

  precheck-worker simulate --fault http_504=0.1 --fault token_500=0.5

  curl -X POST http://127.0.0.1:8377/_simulator/faults -d '{"outage": true}'"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "simulate", simulate, EPILOG)


def simulate(
    name: Annotated[str, typer.Option("--profile", help="How it behaves; --profiles lists them.")] = "realistic",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8377,
    seed: Annotated[int, typer.Option(help="The same seed gives the same verdicts and faults.")] = 1,
    latency_scale: Annotated[
        float | None, typer.Option(min=0.0, help="Factor on the vendor's latency: 1 is P50 2.4 s, P99 30 s; 0 is none.")
    ] = None,
    token_lifetime_s: Annotated[float | None, typer.Option(min=0.1, help="How long a token lives.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of a fault, for example http_500=0.1; may be repeated.")
    ] = None,
    any_host: Annotated[bool, typer.Option("--any-host", help="Allow an address that is not loopback.")] = False,
    profiles: Annotated[bool, typer.Option("--profiles", help="List the profiles and exit.")] = False,
) -> int:
    """Play the Claim Pre-Check API on this machine: token, health, pre-check, faults.

    It checks each call as the real one would and answers with real 999 and 277CA documents. The first line on
    stdout is its address.
    """
    if profiles:
        rows = [(key, value.description) for key, value in PROFILES.items()]
        stdout().print(rows_table("", ("profile", "what it does"), rows))
        return 0
    overrides: dict[str, Any] = {"seed": seed}
    if latency_scale is not None:
        overrides["latency_scale"] = latency_scale
    if token_lifetime_s is not None:
        overrides["token_lifetime_s"] = token_lifetime_s
    config = _configured(name, overrides, fault or [])
    anyio.run(partial(_serve, config, host, port, any_host), backend_options={"use_uvloop": True})
    return 0


def _configured(name: str, overrides: dict[str, Any], faults: list[str]) -> SimulatorConfig:
    if name not in PROFILES:
        raise SettingsError([f"--profile: no profile {name!r}; there are {', '.join(PROFILES)}"])
    if faults:
        base = PROFILES[name].changes.get("faults", FaultSettings())
        overrides["faults"] = _with_faults(base, faults)
    try:
        return profile(name, **overrides)
    except ValueError as error:
        raise SettingsError([f"simulate: {error}"]) from None


def _with_faults(base: FaultSettings, given: list[str]) -> FaultSettings:
    values: dict[str, str] = {}
    for one in given:
        key, separator, value = one.partition("=")
        if not separator or key not in FaultSettings.__struct_fields__:
            names = ", ".join(FaultSettings.__struct_fields__)
            raise SettingsError([f"--fault: {one!r} is not NAME=VALUE with one of {names}"])
        values[key] = value
    kinds = {field.name: field.type for field in msgspec.structs.fields(FaultSettings)}
    for key, value in values.items():
        try:
            msgspec.convert(value, kinds[key], strict=False)
        except msgspec.ValidationError:
            raise SettingsError([f"--fault: {key} must be {_in_words(kinds[key])}, got {value!r}"]) from None
    try:
        return msgspec.convert(msgspec.to_builtins(base) | values, FaultSettings, strict=False)
    except ValueError as error:
        raise SettingsError([f"--fault: {error}"]) from None


def _in_words(kind: Any) -> str:
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return words.get(kind) or f"one of {', '.join(filter(None, get_args(kind)))}"


async def _serve(config: SimulatorConfig, host: str, port: int, any_host: bool) -> None:
    def announce(origin: str) -> None:
        typer.echo(f"simulator: {origin}")
        # No secret of anybody's: it stands in config/local.toml, and whoever plays with curl needs it.
        login = f'client id "{config.client_id}", secret "{config.client_secret}"'
        stderr().print(f'{login}: a worker whose environment is "simulator" has both by default; Ctrl-C ends it')

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(serve, config, host, port, allow_any_host=any_host, ready=announce))
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()
    except* OSError as group_error:
        error = group_error.exceptions[0]
        reason = reason_of(error) if isinstance(error, OSError) else error
        raise SettingsError([f"--port: cannot listen on {host}:{port}: {reason}"]) from None
