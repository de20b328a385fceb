"""Settings come from file, environment and flags, and everything wrong is told at once."""

import re
from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings import Settings, load


def write(folder: Path, text: str) -> Path:
    path = folder / "worker.toml"
    path.write_text(text)
    return path


def problems(
    config: Path | None = None, environ: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(config, environ or {}, flags or {})
    return caught.value.problems


def test_nothing_given_is_the_simulator_with_its_own_credentials() -> None:
    settings = load(None, {})

    assert settings.environment == "simulator"
    assert settings.auth.client_id == "simulator"
    assert settings.auth.client_secret == "simulator-secret"
    assert settings.flow == Settings().flow


def test_flags_beat_variables_and_variables_beat_the_file(tmp_path: Path) -> None:
    config = write(
        tmp_path, "[flow]\nmax_in_flight = 10\nrate_per_s = 1\n[input]\nurl = 'dir:a'\n[retry]\nmax_attempts = 3"
    )
    environ = {"PRECHECK_INPUT__URL": "dir:b", "PRECHECK_RETRY__MAX_ATTEMPTS": "4"}

    settings = load(config, environ, {"input.url": "dir:c", "state.url": None})

    assert settings.flow.max_in_flight == 10
    assert settings.flow.rate_per_s == 1.0
    assert settings.retry.max_attempts == 4
    assert settings.input.url == "dir:c"
    assert settings.state.url == Settings().state.url


def test_variables_are_typed_and_lists_and_tables_in_them_are_json() -> None:
    settings = load(
        None,
        {
            "PRECHECK_API__SAFE_TO_REPEAT": "false",
            "PRECHECK_RETRY__BASE_S": "0.5",
            "PRECHECK_OUTPUT__URLS": '["jsonl:a", "edi:b"]',
            "PRECHECK_API__HEADERS": '{"x-facility": "7"}',
            "PRECHECK_CLAIMS__PAYERS": "[]",
            "PRECHECK_INPUT__URL": "dir:in",
            "HOME": "/nowhere",
        },
    )

    assert settings.api.safe_to_repeat is False
    assert settings.retry.base_s == 0.5
    assert settings.output.urls == ("jsonl:a", "edi:b")
    assert settings.api.headers == {"x-facility": "7"}
    assert settings.claims.payers == ()


def test_the_top_level_variable_needs_no_section() -> None:
    environ = {
        "PRECHECK_ENVIRONMENT": "sandbox",
        "PRECHECK_AUTH__CLIENT_ID": "clinic",
        "PRECHECK_AUTH__CLIENT_SECRET": "s",
    }

    assert load(None, environ).environment == "sandbox"


def test_variables_that_kubernetes_makes_for_a_service_are_not_settings() -> None:
    environ = {
        "PRECHECK_WORKER_SERVICE_HOST": "10.0.0.1",
        "PRECHECK_WORKER_SERVICE_PORT_PROBES": "9837",
        "PRECHECK_WORKER_PORT": "tcp://10.0.0.1:9837",
        "PRECHECK_WORKER_PORT_9837_TCP_ADDR": "10.0.0.1",
    }

    assert load(None, environ) == load(None, {})


@pytest.mark.fault(78)
def test_every_problem_is_told_at_once_and_names_its_setting(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "environment = 'production'\n[api]\nbase_ur = 'x'\nattempt_timeout_s = 'soon'\n[flow]\nmax_in_flight = 0\n",
    )

    found = problems(config, {"PRECHECK_INPUT_URL": "dir:x"}, {"telemetry.http": "nowhere"})

    assert [problem.partition(":")[0] for problem in found] == [
        "api.base_ur",
        "PRECHECK_INPUT_URL",
        "api.attempt_timeout_s",
        "flow.max_in_flight",
        "auth.client_id",
        "auth.client_secret",
        "telemetry.http",
    ]
    assert "must be a number above 0, got 'soon'" in found[2]
    assert str(config) in found[2]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[api]\nbase_ur = ''", "api.base_url"),
        ("[auth]\nbase_url = ''", "api.base_url"),
        ("base_url = ''", "api.base_url"),
        ("[flow]\nmax_inflight = 2", "flow.max_in_flight"),
        ("[retries]\nbase_s = 2", "retry"),
        ("[state]\nurls = ''", "state.url"),
        ("enviroment = 'sandbox'", "environment"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_known_one(tmp_path: Path, text: str, meant: str) -> None:
    (found,) = problems(write(tmp_path, text))

    assert f"did you mean {meant}?" in found


def test_an_unknown_variable_is_answered_with_the_nearest_known_one() -> None:
    (found,) = problems(environ={"PRECHECK_INPUT_URL": "dir:x"})

    assert found == "PRECHECK_INPUT_URL: is no setting; did you mean PRECHECK_INPUT__URL?"


def test_a_name_like_no_other_gets_no_guess(tmp_path: Path) -> None:
    (found,) = problems(write(tmp_path, "[telemetry]\nqqqq = 1"))

    assert "did you mean" not in found


@pytest.mark.parametrize(
    "text",
    [
        "[flow]\nmax_in_flight = 2.5",
        "[flow]\nmax_in_flight = true",
        "[flow]\nrate_per_s = -1",
        "[flow]\nmode = 'clever'",
        "[retry]\nbase_s = nan",
        "[retry]\nbase_s = inf",
        "[retry]\nbase_s = 0",
        "[retry]\nbudget_ratio = 1.5",
        "[retry]\nmax_attempts = 0",
        "[input]\nmax_batch_bytes = 0",
        "[input]\nurl = 5",
        "[output]\nurls = 'jsonl:a'",
        "[output]\nurls = []",
        "[claims]\ntypes = []",
        "[claims]\ntypes = ['veterinary']",
        "[claims]\nlocal_checks = ['everything']",
        "[api]\nheaders = { a = 1 }",
        "[api]\nsafe_to_repeat = 'no'",
        "[state]\nretention_days = 1979-05-27",
        "environment = 'test'",
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_bounds_is_one_problem(tmp_path: Path, text: str) -> None:
    (found,) = problems(write(tmp_path, text))

    assert "must be" in found


def test_a_variable_for_a_list_says_that_it_must_be_json() -> None:
    (found,) = problems(environ={"PRECHECK_OUTPUT__URLS": "jsonl:a,jsonl:b"})

    assert found.startswith("output.urls: must be a list of texts and not empty as JSON")
    assert "PRECHECK_OUTPUT__URLS" in found


def test_a_wrong_value_is_told_even_where_a_later_source_overrides_it(tmp_path: Path) -> None:
    config = write(tmp_path, "[retry]\nbase_s = 'x'")

    (found,) = problems(config, {"PRECHECK_RETRY__BASE_S": "2"})

    assert found.startswith("retry.base_s")


def test_a_section_written_as_a_value_is_explained(tmp_path: Path) -> None:
    (found,) = problems(write(tmp_path, "input = 'dir:x'"))

    assert "write [input]" in found


def test_a_missing_file_is_named_with_its_reason_and_a_way_out(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"

    (found,) = problems(missing)

    assert found.startswith(f"{missing}: cannot be read: No such file or directory; name an existing file")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (found,) = problems(tmp_path)

    assert "Is a directory" in found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\n[api\n", "line 2, column 5"),
        ("[auth]\nclient_secret = hush-hush\n", "line 2, column 17"),
        ('[auth]\nclient_secret = "hush-hush\n', "line 2"),
        ('[auth]\nclient_secret = "\\hush-hush"\n', "line 2"),
        ("[api]\nheaders = { hush = 1, hush = 2 }\n", "line 2"),
        ("[auth]\nclient_id = 1\nclient_id = 'hush-hush'\n", "line 3"),
    ],
)
def test_broken_toml_is_told_by_its_line_and_shows_nothing_of_its_values(tmp_path: Path, text: str, place: str) -> None:
    (found,) = problems(write(tmp_path, text))

    assert place in found
    assert "hush" not in found


@pytest.mark.parametrize(
    "text",
    [
        "[auth]\nclient_id = 'x'\n[auth]\nclient_secret = 'hush'\n",
        "[auth]\nclient_secret = 'x'\nclient_secret = 'hush'\n",
        "auth.client_secret = 'hush'\n[auth]\nclient_id = 'x'\n",
    ],
)
def test_what_stands_twice_in_the_file_is_told_as_that(tmp_path: Path, text: str) -> None:
    (found,) = problems(write(tmp_path, text))

    assert re.search(r": line [234], column \d+: this table or key stands there twice; put both together\Z", found)
    assert "hush" not in found


def test_what_does_not_go_together_is_told_with_where_it_was_given(tmp_path: Path) -> None:
    config = write(
        tmp_path, "[auth]\nclient_secret_file = '/run/secrets/x'\n[retry]\nbase_s = 90\n[input]\nurl = 'in'\n"
    )

    with pytest.raises(SettingsError) as refused:
        load(config, {"PRECHECK_AUTH__CLIENT_SECRET": "hush"}, online=False)

    told = {problem.partition(": ")[0]: problem for problem in refused.value.problems}
    assert told["auth.client_secret"].endswith("keep one of them (PRECHECK_AUTH__CLIENT_SECRET)")
    assert told["retry.base_s"] == f"retry.base_s: must not be above retry.max_s ({config})"
    assert told["input.url"].endswith(f"got 'in' ({config})")
    assert "hush" not in str(refused.value)


def test_a_file_in_another_encoding_is_told_by_its_line(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_bytes(b"[input]\nurl = 'dir:caf\xe9'\n")

    (found,) = problems(config)

    assert "line 2: not UTF-8" in found


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_bytes(b"\xef\xbb\xbf[input]\nurl = 'dir:x'\n")

    assert load(config, {}).input.url == "dir:x"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    (found,) = problems(Path("/dev/zero"))

    assert "too large" in found


def test_deep_nesting_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (found,) = problems(write(tmp_path, "a = " + "[" * 20_000))

    assert "nested too deeply" in found


def test_only_the_maximum_given_the_start_is_fitted_to_it() -> None:
    settings = load(None, {"PRECHECK_FLOW__MAX_IN_FLIGHT": "4"})

    assert settings.flow.initial_in_flight == 4


def test_commands_that_never_call_the_api_need_no_credentials() -> None:
    settings = load(None, {"PRECHECK_ENVIRONMENT": "production"}, online=False)

    assert settings.environment == "production"


def test_a_path_is_accepted_as_a_flag() -> None:
    assert load(None, {}, {"api.ca_file": Path(__file__)}).api.ca_file == __file__
