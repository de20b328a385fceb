"""The container leaves the settings to whoever runs it, and writes where its volume is."""

import json
import re
from pathlib import Path, PurePosixPath

from worker.settings import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_no_variable_of_the_image_wins_over_a_settings_file_but_the_address_of_the_probes() -> None:
    assert set(re.findall(r"PRECHECK_\w+", FINAL_STAGE)) == {"PRECHECK_TELEMETRY__HTTP"}


def test_all_default_paths_lie_in_the_volume() -> None:
    (working_folder,) = re.findall(r"^WORKDIR (\S+)", FINAL_STAGE, re.MULTILINE)
    (volumes,) = re.findall(r"^VOLUME (.+)", FINAL_STAGE, re.MULTILINE)
    (volume,) = map(PurePosixPath, json.loads(volumes))
    settings = load(None, {}, {})

    for url in (settings.input.url, *settings.output.urls, settings.state.url):
        assert PurePosixPath(working_folder, url.partition(":")[2]).is_relative_to(volume)


def test_every_pinned_file_that_can_be_chosen_is_there_and_reaches_the_build() -> None:
    texts = (DOCKERFILE, (ROOT / "README.md").read_text())
    chosen = {name for text in texts for name in re.findall(r"constraints[\w-]*\.txt", text)}
    ignored = set((ROOT / ".dockerignore").read_text().split())

    assert {"constraints.txt", "constraints-all.txt"} <= chosen
    assert all((ROOT / "config" / name).is_file() for name in chosen if name != "constraints-dev.txt")
    assert {f"!config/{name}" for name in chosen - {"constraints-dev.txt"}} <= ignored
