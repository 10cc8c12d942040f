"""The demo site's settings and the page that a container's health check asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import OperationalError, connection

ROOT = Path(__file__).parents[2]


@pytest.mark.urls("project.urls")
class TestHealthz:
    @pytest.mark.django_db
    def test_healthy_site_says_so(self, client):
        answer = client.get("/healthz")

        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert "no-store" in answer["Cache-Control"]

    @pytest.mark.django_db
    def test_site_without_database_says_so(self, client, monkeypatch):
        def no_cursor(*args: object) -> None:
            raise OperationalError("gone")

        monkeypatch.setattr(connection, "cursor", no_cursor)
        answer = client.get("/healthz")

        assert (answer.status_code, answer.json()["database"]) == (503, "unreachable")

    def test_it_is_for_reading(self, client):
        assert client.post("/healthz").status_code == 405


@pytest.mark.process
class TestSettings:
    def manage(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        given = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**given, **changes},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def setting(self, name: str, **changes: str) -> str:
        code = f"from django.conf import settings; print(settings.{name})"
        ended = self.manage("shell", "--no-imports", "--command", code, **changes)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def test_checks_find_nothing(self, tmp_path):
        changes = {
            "AI_USAGE_OUTBOX": f"{tmp_path}/outbox",
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        }
        ended = self.manage("check", "--fail-level", "WARNING", **changes)

        assert ended.returncode == 0, ended.stderr

    def test_secret_key_has_no_default_in_production(self):
        ended = self.manage("check", DEBUG="false", SECRET_KEY="")

        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "SECRET_KEY" in ended.stderr

    def test_provider_of_the_environment_is_a_gateway(self):
        gateways = self.setting("AI_USAGE_GATEWAYS", AI_PROVIDER_URL="http://stub:9100")

        assert "'stub:9100/openai': 'openai'" in gateways

    def test_key_goes_to_the_providers_own_url_only(self):
        assert self.setting("OPENAI_KEY", OPENAI_API_KEY="secret") == "any-key"
        own = {"OPENAI_BASE_URL": "https://api.openai.com/v1", "OPENAI_API_KEY": "secret"}
        assert self.setting("OPENAI_KEY", **own) == "secret"

    def test_sqlite_takes_its_lock_at_the_begin(self):
        assert "IMMEDIATE" in self.setting("DATABASES", DATABASE_URL="sqlite:///x.sqlite3")
        assert "OPTIONS': {}" not in self.setting("DATABASES", DATABASE_URL="sqlite:///x.sqlite3")
