"""The compose file and the image: valid, agreeing with each other, and setting what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from peercron.sources import FIELDS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "container"
COMPOSE = FOLDER / "compose.yml"
IMAGE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {
    "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
    "CMD",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def instructions() -> list[str]:
    """The image's instructions, each in one line."""
    lines = (line for line in IMAGE.splitlines() if line.strip() and not line.startswith("#"))
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def test_the_compose_file_fits_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_docker_compose_takes_it(tmp_path: Path) -> None:
    """Where the real thing is installed it has the last word; no engine is needed for that."""
    probe = ["docker", "compose", "version"]
    if shutil.which("docker") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_three_nodes_name_each_other(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"a", "b", "c"}
    for name, service in services.items():
        environment = service["environment"]
        assert environment["PEERCRON_PEERS"].split(",") == [f"{peer}:7400" for peer in services]
        assert environment["PEERCRON_SELF"] == f"{name}:7400"
        assert service["hostname"] == name
        assert service["volumes"] == [f"{name}:/data"]
        assert name in compose["volumes"]


def test_the_secret_and_the_probe_are_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        (secret,) = service["secrets"]
        assert service["environment"]["PEERCRON_SECRET_FILE"] == f"/run/secrets/{secret}"
        assert "/readyz" in service["healthcheck"]["test"][-1]
    assert compose["secrets"] == {"peercron": {"file": "./secret"}}


def test_http_is_published_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(set(ports)) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:8400", port) for port in ports)


def test_the_image_is_built_from_what_is_there(compose: dict[str, Any]) -> None:
    words = [line.split() for line in instructions()]
    assert {word[0] for word in words} <= INSTRUCTIONS
    copied = [source for word in words if word[0] == "COPY" and "--from" not in word[1] for source in word[1:-1]]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    for service in compose["services"].values():
        build = service["build"]
        assert (COMPOSE.parent / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]) == FOLDER / "Containerfile"


def test_what_is_copied_is_not_ignored() -> None:
    ignored = (FOLDER / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "peercron",
    }


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = instructions()
    (user,) = (i for i, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user] == "USER 10001"
    assert user > max(i for i, line in enumerate(lines) if line.startswith("RUN "))
    assert 'ENTRYPOINT ["python", "-m", "peercron"]' in lines


def test_every_variable_exists(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\bPEERCRON_\w+", IMAGE + COMPOSE.read_text(encoding="utf-8")))
    assert used >= {"PEERCRON_PEERS", "PEERCRON_DATA_DIR"}
    assert used <= {field.variable for field in FIELDS}
