"""The compose file and the Kubernetes manifests are valid, and say what the image and the settings say.

What checks them: check-jsonschema holds the compose file to the schema of compose-spec, kubernetes-validate the objects
to the schemas of Kubernetes's API, cloudcoil's models, made from KEDA's CRDs, KEDA's objects. What KEDA's RabbitMQ
scaler is told is a table of texts to all of them; its names are listed here, from KEDA's documentation.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import cloudcoil.models.keda.v1alpha1 as keda
import kubernetes_validate
import pytest
import yaml

from worker.brokers.rabbitmq import address_of
from worker.pipeline import LEFT_WITHIN_S
from worker.settings import Settings, describe, load, warnings_of
from worker.tally import Tally
from worker.telemetry.http import _application

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "config" / "compose.yaml"
MANIFESTS = sorted((ROOT / "config" / "kubernetes").glob("*.yaml"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCHEMA_VERSION = "1.33"
KEDA_KINDS = ("ScaledObject", "TriggerAuthentication")
RABBITMQ_SCALER = {"protocol", "queueName", "mode", "value", "activationValue", "vhostName", "timeout", "unsafeSsl"}


def from_image(pattern: str) -> str:
    """Read the one thing in the Dockerfile's last stage that matches."""
    (found,) = re.findall(pattern, DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)
    return str(found)


USER = from_image(r"^USER (\S+)")
PORT = int(from_image(r"^EXPOSE (\d+)"))
(VOLUME,) = json.loads(from_image(r"^VOLUME (.+)"))


def objects() -> dict[str, Any]:
    return {each["kind"]: each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())}


def routes() -> set[str]:
    served = _application(Tally(), lambda: None).router.resources()
    return {resource.canonical for resource in served}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = objects()["Deployment"]["spec"]["template"]["spec"]
    return spec


def check_compose(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check_object(found: dict[str, Any]) -> None:
    """Raise what the schema of its kind finds; a field that the kind does not know is an error as well."""
    if found["kind"] in KEDA_KINDS:
        read = getattr(keda, found["kind"]).model_validate(found)
        assert read.model_dump(by_alias=True, exclude_none=True, mode="json") == found
    else:
        kubernetes_validate.validate(found, SCHEMA_VERSION, strict=True)


def test_the_compose_file_is_valid() -> None:
    assert (found := check_compose(COMPOSE)).returncode == 0, found.stdout


def test_a_wrong_compose_file_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period:", "stop_grace:"))

    assert "stop_grace" in check_compose(wrong).stdout


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "Secret", "TriggerAuthentication", "ScaledObject"])
def test_each_object_is_valid_and_a_field_that_nobody_knows_would_be_found(kind: str) -> None:
    found = objects()[kind]

    check_object(found)
    with pytest.raises((kubernetes_validate.ValidationError, AssertionError)):
        check_object(found | {"replicaz": 1})


def test_all_objects_are_tested() -> None:
    assert sorted(objects()) == ["ConfigMap", "Deployment", "ScaledObject", "Secret", "TriggerAuthentication"]


def secrets_in(folder: Path, names: Iterator[str]) -> None:
    for name in names:
        (folder / name).write_text("secret\n")


@pytest.fixture
def fleet(tmp_path: Path) -> Settings:
    """Load the ConfigMap's settings with the Secret's keys as files, as the pod would see them."""
    secrets_in(tmp_path, iter(objects()["Secret"]["stringData"]))
    (mounted,) = (each["mountPath"] for each in pod()["containers"][0]["volumeMounts"] if each["name"] == "secrets")
    file = tmp_path / "worker.toml"
    file.write_text(objects()["ConfigMap"]["data"]["worker.toml"].replace(mounted, str(tmp_path)))
    return load(file, {"PRECHECK_TELEMETRY__HTTP": f"0.0.0.0:{PORT}"})


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Load what compose gives the worker."""
    worker = compose()["services"]["worker"]
    secrets_in(tmp_path, iter(worker["secrets"]))
    variables = {name: text.replace("/run/secrets", str(tmp_path)) for name, text in worker["environment"].items()}
    return load(None, variables)


@pytest.mark.parametrize("settings", ["fleet", "alone"])
def test_the_settings_load_and_nothing_is_said_against_them(settings: str, request: pytest.FixtureRequest) -> None:
    loaded: Settings = request.getfixturevalue(settings)

    assert list(warnings_of(loaded)) == []
    for url in (loaded.input.url, *loaded.output.urls):
        if url.startswith("amqp"):
            assert address_of(url, setting="input.url", queue="-").password == "secret"


def test_every_variable_is_one_of_the_catalogue() -> None:
    known = {setting.variable for setting in describe()}

    assert {name for name in compose()["services"]["worker"]["environment"] if name.startswith("PRECHECK_")} <= known


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_both_wait_for_a_drain_and_for_results_on_their_way(fleet: Settings, alone: Settings) -> None:
    graces = (
        (pod()["terminationGracePeriodSeconds"], fleet),
        (seconds(compose()["services"]["worker"]["stop_grace_period"]), alone),
    )
    for grace, settings in graces:
        assert grace == settings.telemetry.stop_grace_s
        assert grace > settings.telemetry.drain_s + LEFT_WITHIN_S


def test_probes_ask_what_is_served_on_the_port_of_the_image() -> None:
    (container,) = pod()["containers"]
    (port,) = container["ports"]
    service = compose()["services"]["simulator"]

    assert port["containerPort"] == PORT
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert path in routes()
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    annotations = objects()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(PORT)
    assert annotations["prometheus.io/path"] in routes()


def test_both_run_as_the_user_of_the_image_with_a_root_that_is_not_written() -> None:
    uid, gid = map(int, USER.split(":"))
    security, container = pod()["securityContext"], pod()["containers"][0]["securityContext"]

    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (uid, gid, gid)
    assert security["runAsNonRoot"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    for name in ("worker", "simulator"):
        service = compose()["services"][name]
        assert service["user"] == USER
        assert service["read_only"]


def test_what_is_written_lies_in_the_volume_of_the_image(fleet: Settings, alone: Settings) -> None:
    mounts = {each["name"]: each["mountPath"] for each in pod()["containers"][0]["volumeMounts"]}

    assert mounts["spool"] == VOLUME
    assert compose()["services"]["worker"]["volumes"] == [f"spool:{VOLUME}"]
    workdir = from_image(r"^WORKDIR (\S+)")
    for settings in (fleet, alone):
        for url in (settings.state.url, *settings.output.urls):
            if url.startswith(("sqlite:", "jsonl:")):
                assert PurePosixPath(workdir, url.partition(":")[2]).is_relative_to(VOLUME)


def test_commands_and_build_are_the_ones_that_there_are() -> None:
    services = compose()["services"]
    ran = subprocess.run([sys.executable, "-m", "worker", "run", "--help"], capture_output=True, text=True, check=True)
    (argument,) = services["worker"]["build"]["args"]

    assert argument == "CONSTRAINTS"
    assert (COMPOSE.parent / services["worker"]["build"]["context"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
    assert f"ARG {argument}=" in DOCKERFILE
    assert services["worker"]["command"] == ["run", "--create"]
    assert "--create" in ran.stdout
    assert services["simulator"]["command"][0] == "simulate"
    assert pod()["containers"][0]["args"][:2] == ["run", "--config"]


def test_the_secrets_that_are_named_exist(fleet: Settings) -> None:
    assert fleet.auth.client_secret_file
    secret = objects()["Secret"]
    (volume,) = (each for each in pod()["volumes"] if each["name"] == "secrets")
    (parameter,) = objects()["TriggerAuthentication"]["spec"]["secretTargetRef"]

    assert volume["secret"]["secretName"] == parameter["name"] == secret["metadata"]["name"]
    assert parameter["key"] in secret["stringData"]
    assert parameter["parameter"] == "host"
    declared = compose()["secrets"]
    ignored = (ROOT / ".gitignore").read_text().split()
    assert all(f"config/{each['file']}" in ignored for each in declared.values())


def test_the_autoscaler_watches_the_queue_that_is_worked_on(fleet: Settings) -> None:
    spec = objects()["ScaledObject"]["spec"]
    (trigger,) = spec["triggers"]

    assert spec["scaleTargetRef"]["name"] == objects()["Deployment"]["metadata"]["name"]
    assert trigger["authenticationRef"]["name"] == objects()["TriggerAuthentication"]["metadata"]["name"]
    assert trigger["metadata"].keys() <= RABBITMQ_SCALER
    assert trigger["metadata"]["queueName"] == address_of(fleet.input.url, setting="input.url", queue="-")["queue"]
    assert int(trigger["metadata"]["value"]) > fleet.input.prefetch
