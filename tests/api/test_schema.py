"""The OpenAPI schema, and a run of schemathesis that tests the demo against it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from tests.support.children import ROOT
from usage_tracking.api import answers
from usage_tracking.reports import BY, DIMENSIONS

pytest.importorskip("drf_spectacular")  # the session `floor` of noxfile.py does not install it


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format=openapi-json", f"--file={file}"
    )
    return json.loads(file.read_text())


def test_every_endpoint_is_in_it(schema: Any):
    assert {
        (path, method, operation["operationId"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    } == {
        ("/api/v1/ai/", "get", "usage_root"),
        ("/api/v1/ai/usage/report/", "get", "usage_report"),
        ("/api/v1/ai/usage/logs/", "get", "usage_logs_list"),
        ("/api/v1/ai/usage/logs/", "post", "usage_logs_create"),
        ("/api/v1/ai/usage/logs/{id}/", "get", "usage_logs_retrieve"),
        ("/api/v1/ai/usage/logs/stats/", "get", "usage_logs_stats"),
        ("/api/v1/ai/usage/logs/global/", "get", "usage_logs_global"),
        ("/api/v1/ai/usage/stats/", "get", "usage_stats"),
        ("/api/v1/ai/usage/global/", "get", "usage_global"),
        ("/api/v1/ai/usage/reconciliation/", "get", "usage_reconciliation"),
    }


def test_refusals_are_in_it(schema: Any):
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert {"400", "401", "403"} <= set(operation["responses"]), path
    one = schema["paths"]["/api/v1/ai/usage/logs/{id}/"]["get"]
    assert {"200", "404"} <= set(one["responses"])


def test_parameters_have_their_limits(schema: Any):
    def parameters(path: str) -> dict[str, Any]:
        operation = schema["paths"][f"/api/v1/ai/usage/{path}/"]["get"]
        return {p["name"]: p["schema"] for p in operation["parameters"] if p["in"] == "query"}

    vocabulary = {"start", "end", "user", "section", "model", "provider", "limit", "cursor"}
    assert set(parameters("report")) == vocabulary | {"group_by", "format"}
    assert parameters("report")["group_by"]["items"]["enum"] == list(DIMENSIONS)
    assert {each["format"] for each in parameters("report")["start"]["oneOf"]} == {
        "date",
        "date-time",
    }
    assert set(parameters("logs")) == vocabulary | {
        "success",
        "start_date",
        "end_date",
        "offset",
        "format",
    }
    assert (parameters("logs")["limit"]["minimum"], parameters("logs")["limit"]["maximum"]) == (
        1,
        500,
    )
    for path in ("logs/stats", "logs/global"):
        assert set(parameters(path)) == {"days", "section"}
    for path in ("stats", "global"):
        assert set(parameters(path)) == {"days"}
    reconciliation = parameters("reconciliation")
    assert set(reconciliation) == {"start", "end", "by", "provider"}
    assert {reconciliation[name]["format"] for name in ("start", "end")} == {"date"}
    assert reconciliation["by"]["enum"] == list(BY)
    days = parameters("stats")["days"]
    assert (days["minimum"], days["maximum"], days["default"]) == (1, 366, 30)


def test_lines_of_the_report_are_those_of_the_schema(schema: Any):
    line = schema["components"]["schemas"]["ReportLine"]

    names = answers.columns(["user", "model", "section", "provider", "day", "hour"])
    assert list(line["properties"]) == names
    assert set(line["required"]) == set(answers.FIGURES)
    assert (
        line["properties"]["cost"] | {"type": "string", "nullable": True}
        == (line["properties"]["cost"])
    )


def test_sections_are_those_of_the_setting(tmp_path: Path):
    with override_settings(AI_USAGE_SECTIONS={"mine": "Mine"}):
        call_command("spectacular", "--format=openapi-json", f"--file={tmp_path / 'schema'}")

    text = (tmp_path / "schema").read_text()
    assert '"mine"' in text
    assert '"rag_pipeline"' not in text


@pytest.mark.costly
@pytest.mark.one_driver
def test_schemathesis_finds_no_failure(database_url: str, tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.api.fuzz"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DATABASE_URL": database_url,
            "AI_USAGE_OUTBOX": str(tmp_path / "outbox"),
            "LOG_FILE": str(tmp_path / "site.log"),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    output = ended.stdout[-10_000:] + ended.stderr[-5_000:]
    assert ended.returncode == 0, output
    assert "No issues found" in ended.stdout, output
    # Every operation, in each phase that needs no examples in the schema.
    assert re.search(r"Operations: +10 selected / 10 total", ended.stdout), output
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in ended.stdout.partition("Test Phases:")[2], output
    for phase in ("Coverage", "Fuzzing"):
        assert re.search(rf"✅ +{phase} \(in .+\)\s+✅ 10 passed", ended.stdout), output
