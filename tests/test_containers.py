"""docker-compose.yml and the Dockerfile; their commands run without Docker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.waiting import PATIENCE, finish, run, wait_until

ROOT = Path(__file__).parent.parent
SECRET = re.compile(r"secret|password|token|api_?key", re.IGNORECASE)
VALUES = {"POSTGRES_PASSWORD": "letters", "SECRET_KEY": "only-for-this-test"}


def read_compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def read_dockerfile() -> list[tuple[str, str]]:
    """Return the instructions in order, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines) if name]


def instructions(name: str) -> list[str]:
    return [value for instruction, value in read_dockerfile() if instruction == name]


def healthcheck() -> list[str]:
    """Return the command of HEALTHCHECK, in exec form."""
    (value,) = instructions("HEALTHCHECK")
    return json.loads(value.partition("CMD ")[2])


def container_environment(**changes: str) -> dict[str, str]:
    """Return the environment of the container `web` and what Python needs on this machine."""
    own = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    (assignments,) = instructions("ENV")
    image = dict(part.split("=", 1) for part in assignments.split())
    compose = read_compose()["services"]["web"]["environment"]
    given = {name: interpolate(value) for name, value in compose.items()}
    return own | image | given | changes


def interpolate(text: str) -> str:
    """Expand ${NAME:-default} and ${NAME:?error}, as compose does."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == ":-":
            return VALUES.get(name, rest)
        return VALUES[name]

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


def in_this_python(command: list[str]) -> list[str]:
    return [sys.executable, *(["-m", "gunicorn"] if command[0] == "gunicorn" else []), *command[1:]]


def test_database_is_postgres_17_with_health_check_and_volume():
    db = read_compose()["services"]["db"]

    assert db["image"] == "postgres:17"
    assert "pg_isready" in db["healthcheck"]["test"][1]
    assert db["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_migrate_runs_once_after_the_database_is_healthy():
    migrate = read_compose()["services"]["migrate"]

    assert migrate["command"][1:3] == ["manage.py", "migrate"]
    assert migrate["restart"] == "no"
    assert migrate["depends_on"] == {"db": {"condition": "service_healthy"}}


def test_web_waits_for_the_migration():
    web = read_compose()["services"]["web"]

    assert web["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert "command" not in web
    assert "healthcheck" not in web


def test_outbox_is_a_volume_for_the_sites_user_only():
    services, volumes = read_compose()["services"], read_compose()["volumes"]
    (path,) = json.loads(instructions("VOLUME")[0])

    assert services["web"]["volumes"] == [f"outbox:{path}"]
    assert "outbox" in volumes
    assert f"AI_USAGE_OUTBOX={path}" in instructions("ENV")[0]
    assert any("--owner=site" in run and "--mode=0700" in run for run in instructions("RUN"))


def test_site_runs_without_privileges():
    order = [instruction for instruction, _ in read_dockerfile()]
    services = read_compose()["services"]

    assert instructions("USER") == ["site"]
    assert not {"COPY", "RUN", "ADD"} & set(order[order.index("USER") :])
    for name in ("migrate", "stub", "web"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"] is True
        assert services[name]["security_opt"] == ["no-new-privileges:true"]


def test_health_check_needs_only_python():
    command = healthcheck()

    assert command[0] == "python"
    assert "/healthz" in command[2]


def test_web_uses_the_address_of_the_stub_provider():
    services = read_compose()["services"]
    host, port = interpolate(services["web"]["environment"]["AI_PROVIDER_URL"])[7:].split(":")

    assert host in services
    assert services[host]["command"][:5] == ["python", "-m", "project.stub", "--host", "0.0.0.0"]
    assert services[host]["command"][5:7] == ["--port", port]
    assert f"http://127.0.0.1:{port}/journal" in services[host]["healthcheck"]["test"][3]


def test_secrets_come_from_the_environment_and_are_required():
    for service in read_compose()["services"].values():
        for name, value in service["environment"].items():
            if SECRET.search(name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
    assert not [
        value for value in (*instructions("ENV"), *instructions("ARG")) if SECRET.search(value)
    ]
    assert all(line.endswith("=") for line in example_lines())
    assert {line.rstrip("=") for line in example_lines()} == set(VALUES)


def example_lines() -> list[str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_build_context_has_only_what_the_image_copies():
    copied = {value.split()[0] for value in instructions("COPY")}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.costly
def test_containers_commands_migrate_and_serve(empty_database_url: str, tmp_path: Path):
    environment = container_environment(
        DATABASE_URL=empty_database_url, AI_USAGE_OUTBOX=str(tmp_path / "outbox")
    )
    migrate = read_compose()["services"]["migrate"]["command"]

    migrated = run(in_this_python(migrate), cwd=ROOT, env=environment)
    assert migrated.returncode == 0, migrated.stderr
    assert "Applying usage_tracking.0001_ai_usage... OK" in migrated.stdout

    with serve(environment, tmp_path / "web.log") as address:
        # Docker retries if a busy machine does not respond in time. This test does not.
        patient = [part.replace("timeout=4", f"timeout={PATIENCE}") for part in healthcheck()]
        check = [part.replace("http://127.0.0.1:8000", address) for part in patient]
        assert check != patient != healthcheck()
        checked = run(in_this_python(check), cwd=ROOT, env=environment)
        assert (checked.returncode, checked.stderr) == (0, "")
        with urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE) as response:
            assert response.status == 200
        missing = [part.replace("/healthz", "/no-such-page") for part in check]
        refused = run(in_this_python(missing), cwd=ROOT, env=environment)
        assert refused.returncode == 1
        assert "HTTP Error 404" in refused.stderr


@contextmanager
def serve(environment: dict[str, str], log: Path) -> Iterator[str]:
    """Run the command of the image on a free port, yield its address and stop it."""
    command = json.loads(instructions("CMD")[0])
    command[command.index("--bind") + 1] = "127.0.0.1:0"
    with log.open("w") as output:
        process = subprocess.Popen(
            in_this_python(command),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,  # its workers are killed with it if it does not end
        )
    try:
        address = re.compile(r"Listening at: (http://[\d.:]+)")
        wait_until(
            lambda: process.poll() is not None or address.search(log.read_text()),
            awaited="a server that listens",
            seen=log.read_text,
        )
        found = address.search(log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        process.terminate()
        finish(process)
        print(log.read_text())
    assert process.returncode == 0, log.read_text()
