"""`usage_report`: sums and calls as tables and files, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from tests.support.builders import NOON, make_log, make_user, save_log
from tests.support.commands import Ended, run_command
from usage_tracking import reports
from usage_tracking.exports import rows
from usage_tracking.management import report_lines
from usage_tracking.management.report_files import whole_file
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import Totals, breakdowns

pytestmark = pytest.mark.django_db

MARCH = "AI usage of 2026-03-01 to 2026-03-31 (UTC)"


@pytest.fixture(autouse=True)
def noon():
    with freeze_time(NOON):
        yield


@pytest.fixture
def calls() -> None:
    ada, bob = make_user("ada", email="ada@example.com"), make_user("bob")
    save_log(user=ada, cost=Decimal("0.0012"))
    save_log(user=ada, cost=Decimal("0.002"), section="rag_pipeline")
    save_log(user=bob, cost=Decimal("0.4"), provider="anthropic", model_name="claude-x")
    save_log(prompt_tokens=None, completion_tokens=None, success=False)
    save_log(user=bob, cost=Decimal(5), created_at=NOON.replace(month=2))


def report(*arguments: str, **options: Any) -> Ended:
    return run_command("usage_report", *arguments, **options)


def lines_of(*arguments: str) -> list[dict[str, Any]]:
    ended = report(*arguments, "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    lines: list[dict[str, Any]] = json.loads(ended.out)
    return lines


class TestTable:
    def test_month_by_user_has_the_highest_cost_first_and_a_total(self, calls):
        assert report() == (
            0,
            f"""\
{MARCH}, by user

USER          CALLS  FAILED   TOKENS  COST USD  AVG MS  NO TOKENS  NO PRICE
bob               1       0      230  0.400000     900          0         0
ada               2       0      460  0.003200     900          0         0
Unattributed      1       1  unknown   unknown     900          0         0
Total             4       1      690  0.403200     900          0         0
""",
            "",
        )

    def test_dimensions_are_columns_in_their_order(self, calls):
        out = report("--by", "section,model", "--user", "ada").out

        assert out.startswith(f"{MARCH}, by section and model, user ada\n")
        assert [line.split()[:3] for line in out.splitlines()[2:]] == [
            ["SECTION", "MODEL", "CALLS"],
            ["rag_pipeline", "gpt-4o", "1"],
            ["chat", "gpt-4o", "1"],
            ["Total", "2", "0"],
        ]

    def test_days_and_hours_stay_in_order(self, calls):
        out = report("2026", "--by", "day").out
        assert [line.split()[0] for line in out.splitlines()[3:]] == [
            "2026-02-14",
            "2026-03-14",
            "Total",
        ]
        assert "2026-03-14 12:00Z" in report("--by", "hour").out

    def test_quiet_prints_no_heading(self, calls):
        assert report(verbosity=0).out.startswith("USER ")

    def test_nothing_found_is_said(self):
        ended = report("2025-12")

        assert (ended.code, ended.out) == (0, "")
        assert ended.err.startswith("No AI call was recorded in this period")
        assert report("2025-12", verbosity=0) == (0, "", "")

    def test_titles_of_many_lines_are_repeated_and_one_total_adds_up_all(self, monkeypatch):
        monkeypatch.setattr(report_lines, "_PAGE", 4)
        for number in range(10):
            save_log(model_name=f"model-{number}", cost=Decimal(number))

        out = report("--by", "model").out

        assert (out.count("MODEL "), out.count("Total ")) == (3, 1)
        assert "Total       10       0   2,300  45.000000" in out

    def test_names_cannot_add_lines(self):
        save_log(model_name="gpt\x1b[2J\nTotal", section="a\rb")

        out = report("--by", "model,section").out

        assert "\x1b" not in out
        assert len(out.splitlines()) == 5


class TestFiles:
    def test_json_has_the_totals_of_usage_today(self, calls):
        ada, bob, nobody = lines_of("--by", "user,model")

        assert [*ada] == ["user", "username", "email", "model", *Totals().as_dict()]
        assert (ada["username"], ada["email"], ada["model"]) == ("ada", "ada@example.com", "gpt-4o")
        assert (ada["calls"], ada["total_tokens"], ada["cost"]) == (2, 460, "0.0032")
        assert (bob["username"], bob["model"]) == ("bob", "claude-x")
        assert (nobody["user"], nobody["username"], nobody["cost"]) == (None, None, None)
        assert nobody["total_tokens"] is None

    def test_csv_and_json_lines_have_the_same_lines(self, calls):
        expected = lines_of("--by", "day,section")

        as_lines = report("--by", "day,section", "--format", "jsonl").out
        as_csv = report("--by", "day,section", "--format", "csv").out

        assert [json.loads(line) for line in as_lines.splitlines()] == expected
        found = list(csv.DictReader(io.StringIO(as_csv)))
        assert found == [
            {name: "" if value is None else str(value) for name, value in line.items()}
            for line in expected
        ]

    def test_texts_are_not_formulas_in_csv(self):
        save_log(model_name="=1+1")

        assert ",'=1+1," in report("--by", "section,model", "--format", "csv").out
        assert lines_of("--by", "model")[0]["model"] == "=1+1"

    def test_filters(self, calls):
        def total(*arguments: str) -> int:
            return sum(line["calls"] for line in lines_of(*arguments))

        assert total() == 4
        assert total("--section", "rag_pipeline") == 1
        assert total("--provider", "anthropic") == 1
        assert total("--model", "gpt-4o") == 3
        assert total("--user", "bob", "--from", "2026-01-01") == 2
        assert total("last-month") == 1
        assert total("--to", "2026-02-28") == 1
        assert total("--model", "g\x00pt") == 0

    @override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Kiritimati")
    def test_days_are_those_of_the_day_time_zone(self):
        save_log()

        assert [line["day"] for line in lines_of("--by", "day")] == ["2026-03-15"]

    def test_lines_take_two_statements(self, calls):
        with CaptureQueriesContext(connection) as queries:
            report("--by", "user,model,section,day", "--format", "csv")

        assert len(queries) == 2

    def test_all_pages_are_written(self, monkeypatch):
        monkeypatch.setattr(breakdowns, "_PAGE", 3)
        for number in range(10):
            save_log(model_name=f"model-{number}")

        assert len(lines_of("--by", "model")) == 10


class TestCalls:
    def test_calls_have_the_columns_of_the_export(self, calls):
        found = lines_of("--by", "call")

        assert [*found[0]] == [*rows.COLUMNS[AIUsageLog]]
        assert len(found) == 4
        assert {line["username"] for line in found} == {"ada", "bob", None}
        assert lines_of("--by", "call", "--user", "bob", "--model", "claude-x")[0]["cost"] == "0.4"

    def test_calls_are_read_in_chunks(self, monkeypatch):
        monkeypatch.setattr(rows, "SIZE", 10)
        AIUsageLog.objects.bulk_create([make_log() for _ in range(95)])

        with CaptureQueriesContext(connection) as queries:
            out = report("--by", "call", "--format", "jsonl").out

        assert (len(out.splitlines()), len(queries)) == (95, 10)

    def test_calls_need_a_format(self):
        ended = report("--by", "call")

        assert ended.code == 2
        assert "--by call needs --format csv, json, jsonl" in ended.err


class TestOutput:
    def test_file_has_the_format_of_its_name(self, calls, tmp_path):
        for name, start in (
            ("a.csv", "\ufeffuser,username"),
            ("a.json", '[\n{"user": '),
            ("a.jsonl", '{"user": '),
            ("a.txt", f"{MARCH}, by user\n"),
        ):
            assert report("--output", str(tmp_path / name)) == (0, "", "")
            assert (tmp_path / name).read_text().startswith(start)
        assert report("--output", str(tmp_path / "b.txt"), "--format", "jsonl").code == 0
        assert (tmp_path / "b.txt").read_text() == (tmp_path / "a.jsonl").read_text()

    def test_error_leaves_the_file_that_was_there(self, calls, tmp_path):
        def fail_later(execute: Any, sql: str, *rest: Any) -> Any:
            if "created_at" in sql and "<=" in sql:
                raise OperationalError("server closed the connection unexpectedly")
            return execute(sql, *rest)

        file = tmp_path / "calls.csv"
        file.write_text("before")
        with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(fail_later):
            patch.setattr(rows, "SIZE", 2)
            ended = report("--from", "2026-03-01", "--by", "call", "--output", str(file))

        assert ended.code == 2
        assert ended.err == (
            "The report failed: server closed the connection unexpectedly. "
            f"{file} was not written.\n"
        )
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
            "calls.csv": "before"
        }

    def test_sigterm_leaves_the_file_that_was_there(self, tmp_path):
        file = tmp_path / "calls.csv"
        file.write_text("before")

        def write() -> None:
            with whole_file(str(file)) as new:
                new.write(b"after")
                assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
                os.kill(os.getpid(), signal.SIGTERM)
                threading.Event().wait(60)  # the signal ends it

        with pytest.raises(SystemExit) as ended:
            write()

        assert ended.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
            "calls.csv": "before"
        }

    def test_database_without_tables_is_named(self, monkeypatch):
        def fail(execute: Any, sql: str, *rest: Any) -> Any:
            # Before the statement, because PostgreSQL ends the test's transaction at an error.
            if "ai_usage_none" in sql:
                raise OperationalError("no such table")
            return execute(sql, *rest)

        monkeypatch.setattr(AIUsageLog._meta, "db_table", "ai_usage_none")

        with connection.execute_wrapper(fail):
            ended = report("--by", "call", "--format", "csv")

        assert (ended.code, ended.err) == (
            2,
            "Database 'default' has no table ai_usage_none: run `manage.py migrate --database "
            "default`. The output is incomplete.\n",
        )

    def test_error_says_that_the_output_is_incomplete(self, calls):
        def fail(*_: Any) -> Any:
            raise OperationalError("gone")

        with connection.execute_wrapper(fail):
            ended = report("--format", "csv")

        assert (ended.code, ended.err) == (
            2,
            "The report failed: gone. The output is incomplete.\n",
        )

    def test_permissions_and_links_stay(self, calls, tmp_path):
        file, link = tmp_path / "real.csv", tmp_path / "link.csv"
        file.write_text("")
        file.chmod(0o640)
        link.symlink_to(file)

        report("--output", str(link))

        assert link.is_symlink()
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert file.read_text()

    def test_text_is_not_called_a_workbook(self, calls, tmp_path):
        ended = report("--output", str(tmp_path / "a.XLSX"))

        assert ended.code == 2
        assert "not workbooks" in ended.err
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["", "/dev/stdout", "/dev/null", "{}", "{}/none/a.csv"])
    def test_what_is_not_a_file_is_an_error(self, calls, tmp_path, name):
        name = name.format(tmp_path)
        ended = report("--output", name)

        assert ended.code == 2
        assert repr(name) in ended.err or "cannot be written" in ended.err
        assert not list(tmp_path.iterdir())


class TestArguments:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("usr", "Did you mean 'user'?"),
            ("", "Use hour, day, user"),
            ("user,,day", "Use hour, day, user"),
            ("user,user", "'user' is given more than once in 'user,user'"),
            ("call,user", "'call' cannot be combined, as in 'call,user'"),
        ],
    )
    def test_invalid_dimension_is_named(self, text, message):
        for arguments, options in (([f"--by={text}"], {}), ([], {"by": text})):
            with pytest.raises(CommandError, match=re.escape(message)):
                call_command("usage_report", *arguments, **options)

    def test_call_command_takes_text(self, calls):
        out = io.StringIO()
        call_command("usage_report", by="section,model", format="csv", stdout=out)

        assert out.getvalue().startswith("section,model,calls")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--user", "adda"], "There is no user 'adda'. Did you mean 'ada'?"),
            (["--section", "chatt"], "There is no section 'chatt'. Did you mean 'chat'?"),
            (["--from", "2026-03-02", "--to", "2026-03-01"], "--to 2026-03-01 is before"),
            (["--database", "elsewhere"], "There is no database 'elsewhere'."),
        ],
    )
    def test_what_is_not_there_is_named(self, calls, arguments, message):
        ended = report(*arguments)

        assert ended.code == 2
        assert ended.err.startswith(message)

    def test_period_that_is_not_valid_is_named(self):
        with pytest.raises(CommandError, match="'last-mont' is not a valid period"):
            call_command("usage_report", "last-mont")


def test_dimensions_are_those_of_the_reports():
    assert set(reports.DIMENSIONS) == {"user", "model", "section", "provider", "day", "hour"}
