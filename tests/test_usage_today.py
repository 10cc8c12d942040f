from __future__ import annotations

import datetime as dt
import json
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.test import override_settings
from freezegun import freeze_time

from tests.support.builders import NOON, make_event, make_user, save_log
from tests.support.children import ROOT, hear_control_c, make_site, run_python
from tests.support.commands import run_command
from tests.support.waiting import awaiting_output, finish, run
from usage_tracking import outbox, reports
from usage_tracking.management import formatting

MANAGE = (
    "import sys; from django.core.management import execute_from_command_line as run; "
    "run(['manage.py', 'usage_today', *sys.argv[1:]])"
)
HOUR = dt.timedelta(hours=1)
FIGURES = [
    "calls",
    "failures",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost",
    "response_time_ms",
    "unattributed",
    "unknown_usage",
    "failed_unknown_usage",
    "unpriced",
    "failed_unpriced",
    "calls_with_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "image_tokens",
    "tool_calls",
    "average_response_time_ms",
]

PAGE = """\
AI usage of 2026-03-14 until 12:00:00 (UTC), all users, all sections

TOTAL              2026-03-14 12:00  2026-03-13 12:00   CHANGE
Calls                             4                 1  +300.0%
Failed                            1                 0        -
Prompt tokens                 1,500               150  +900.0%
Completion tokens               240                80  +200.0%
Total tokens                  1,740               230  +656.5%
Cost USD                   0.003200          0.001600  +100.0%
Average ms                    1,200               900   +33.3%

SECTION                      CALLS  FAILED  TOKENS  COST USD  AVG MS  NO TOKENS  NO PRICE
Customer Chat (chat)             3       1   1,510  0.003200   1,300          0         0
RAG Pipeline (rag_pipeline)      1       0     230   unknown     900          0         1

MODEL                 CALLS  FAILED  TOKENS  COST USD  AVG MS  NO TOKENS  NO PRICE
gpt-4o (openai)           3       1   1,510  0.003200   1,300          0         0
claude-x (anthropic)      1       0     230   unknown     900          0         1

USER          CALLS  FAILED   TOKENS  COST USD  AVG MS  NO TOKENS  NO PRICE
ada               2       0    1,510  0.003200   1,500          0         0
bob               1       0      230   unknown     900          0         1
Unattributed      1       1  unknown   unknown     900          0         0

MISSING DATA               CALLS  SHARE  FAILED
Unattributed (no user)         1  25.0%       -
Unknown usage (no tokens)      0   0.0%       1
Unpriced (no cost)             1  25.0%       1

UNPRICED MODEL        CALLS                        UNITS                  REASON
claude-x (anthropic)      1  input_tokens, output_tokens  no price for the model

SETTINGS THAT PRICE THEM (write USD for ...)
AI_USAGE_PRICES = {"anthropic:claude-x": {"input": ..., "output": ...}}
Then run: python manage.py reprice_ai_usage --only-unpriced

OUTBOX  BYTES WAITING  FILES  DEAD LETTERS
                    0      0             0
"""


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def noon():
    with freeze_time(NOON):
        yield


@pytest.fixture
def calls(noon: None):
    """Four calls of today, one of yesterday before noon and one after."""
    ada, bob = make_user("ada"), make_user("bob")
    save_log(user=ada, cost=Decimal("0.0012"))
    save_log(user=ada, cost=Decimal("0.0020"), prompt_tokens=1200, response_time_ms=2100)
    save_log(user=bob, section="rag_pipeline", provider="anthropic", model_name="claude-x")
    save_log(prompt_tokens=None, completion_tokens=None, success=False)
    save_log(user=ada, cost=Decimal("0.0016"), created_at=NOON - 25 * HOUR)
    save_log(user=ada, cost=Decimal("5"), created_at=NOON - 23 * HOUR)


def shown_on(out: StringIO, **options: Any) -> str:
    call_command("usage_today", stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def words(text: str) -> list[str]:
    """Return the words, without colours, lines and spaces."""
    return re.sub(r"\x1b\[[0-9;]*m|─", "", text).split()


@pytest.mark.django_db
class TestText:
    def test_page_matches_the_readme(self):
        readme = (ROOT / "README.md").read_text()
        (block,) = re.findall(r"```\n(AI usage of .*?)```", readme, re.DOTALL)

        assert [part in PAGE for part in block.split("...\n")] == [True, True]

    def test_page(self, calls):
        assert run_command("usage_today") == (0, PAGE, "")

    def test_quiet_prints_the_tables_only(self, calls):
        ended = run_command("usage_today", verbosity=0)

        assert ended == (0, PAGE.partition("\n\n")[2], "")

    def test_empty_database_has_a_page_and_a_hint(self, noon):
        ended = run_command("usage_today")

        assert ended.code == 0
        assert "Calls                             0                 0       -\n" in ended.out
        assert "Average ms                        -                 -       -\n" in ended.out
        assert "SECTION" not in ended.out
        assert ended.err == "No AI call was recorded in this period.\n"
        assert run_command("usage_today", verbosity=0).err == ""

    def test_past_day_is_compared_with_a_whole_day(self, calls):
        lines = run_command("usage_today", "--date", "2026-03-13").out.splitlines()

        assert lines[0] == "AI usage of 2026-03-13 (UTC), all users, all sections"
        assert lines[2:4] == [
            "TOTAL              2026-03-13  2026-03-12  CHANGE",
            "Calls                       2           0       -",
        ]

    @override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Kiritimati")
    def test_today_is_in_the_day_time_zone(self, noon):
        headline = run_command("usage_today").out.partition("\n")[0]

        assert headline == (
            "AI usage of 2026-03-15 until 02:00:00 (Pacific/Kiritimati), all users, all sections"
        )

    def test_user_and_section_narrow_every_table(self, calls):
        out = run_command("usage_today", "--user", "bob", "--section", "rag_pipeline").out

        assert out.startswith(
            "AI usage of 2026-03-14 until 12:00:00 (UTC), user bob, section rag_pipeline\n"
        )
        assert "gpt-4o" not in out
        assert "ada" not in out
        assert "claude-x (anthropic)      1" in out

    def test_user_without_usage_has_a_page(self, noon):
        user = make_user("ada")

        ended = run_command("usage_today", "--user", str(user.pk))

        assert (ended.code, ended.err) == (0, "No AI call was recorded in this period.\n")
        assert "user ada" in ended.out

    def test_more_users_than_lines_are_counted(self, noon):
        for number in range(12):
            save_log(user=make_user(f"user{number}"))

        assert "\nTOP 10 OF 12 USERS  CALLS" in run_command("usage_today").out

    def test_names_cannot_add_lines(self, noon):
        save_log(model_name="gpt\x1b[2J\nOUTBOX", section="a\rb", provider="")

        out = run_command("usage_today").out

        assert "gpt\\x1b[2J\\nOUTBOX" in out
        assert "a\\rb" in out

    def test_outbox_and_dead_letters_are_counted(self, noon, tmp_path, monkeypatch):
        box = outbox.Outbox(tmp_path)
        monkeypatch.setattr(outbox, "inline", lambda: False)
        monkeypatch.setattr(outbox, "get", lambda: box)
        box.put(make_event())
        box.dead_letter(make_event(), "refused")

        ended = run_command("usage_today")

        *_, cells = ended.out.splitlines()
        assert cells.split() == [f"{box.size():,}", "1", "1"]
        assert ended.err.endswith(
            "The database refused 1 calls; `flush_ai_usage --retry-dead` retries them.\n"
        )
        box.close()


@pytest.mark.django_db
class TestPeriods:
    @pytest.mark.parametrize(
        ("arguments", "heading", "columns", "calls"),
        [
            (["today"], "2026-03-14 until 12:00:00", "2026-03-14 12:00  2026-03-13 12:00", 4),
            (["yesterday"], "2026-03-13", "2026-03-13  2026-03-12", 2),
            (["--date", "yesterday"], "2026-03-13", "2026-03-13  2026-03-12", 2),
            (
                ["this-month"],
                "2026-03-01 to 2026-03-14 until 12:00:00",
                "2026-03-01 to 03-14  2026-02-01 to 02-14",
                6,
            ),
            (["last-month"], "2026-02-01 to 2026-02-28", "2026-02  2026-01", 0),
            (
                ["2d"],
                "2026-03-13 to 2026-03-14 until 12:00:00",
                "2026-03-13 to 03-14  2026-03-11 to 03-12",
                6,
            ),
            (
                ["--from", "2026-01-01", "--to", "2026-01-04"],
                "2026-01-01 to 2026-01-04",
                "2026-01-01 to 01-04  2025-12-28 to 12-31",
                0,
            ),
            (
                ["--from", "yesterday"],
                "2026-03-13 to 2026-03-14 until 12:00:00",
                "2026-03-13 to 03-14  2026-03-11 to 03-12",
                6,
            ),
        ],
    )
    def test_period_is_shown_beside_the_one_before(
        self, noon, arguments: list[str], heading: str, columns: str, calls: int
    ):
        for hours in (0, 0, 0, 0, 25, 23):
            save_log(created_at=NOON - hours * HOUR)

        lines = run_command("usage_today", *arguments).out.splitlines()

        assert lines[0] == f"AI usage of {heading} (UTC), all users, all sections"
        assert " ".join(lines[2].split()) == f"TOTAL {' '.join(columns.split())} CHANGE"
        assert lines[3].split()[:2] == ["Calls", str(calls)]

    def test_json_of_a_period_has_end_dates(self, calls):
        report = json.loads(run_command("usage_today", "--json", "this-month").out)

        assert list(report)[:4] == ["date", "end_date", "until", "timezone"]
        assert list(report["previous"])[:3] == ["date", "end_date", "until"]
        assert (report["date"], report["end_date"]) == ("2026-03-01", "2026-03-31")
        assert report["until"] == "2026-03-14T12:00:00+00:00"
        assert report["previous"]["end_date"] == "2026-02-28"
        assert report["totals"]["calls"] == 6

    def test_tables_are_ordered_by_cost_and_json_by_tokens(self, noon):
        save_log(user=make_user("cheap"), model_name="big", prompt_tokens=9000, cost=Decimal("0.1"))
        save_log(user=make_user("dear"), model_name="small", prompt_tokens=9, cost=Decimal(2))

        out = run_command("usage_today").out
        report = json.loads(run_command("usage_today", "--json").out)

        assert out.index("small (openai)") < out.index("big (openai)")
        assert out.index("\ndear") < out.index("\ncheap")
        assert [line["username"] for line in report["top_users"]] == ["cheap", "dear"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["last-month", "--date", "today"], "Use either --date, or a period, or --from"),
            (["last-month", "--to", "today"], "Use either the period 'last-month' or --from"),
            (["--to", "2026-03-01"], "--to needs --from, the first day."),
            (["--from", "2026-03-15"], "--from 2026-03-15 is after today; use --to too."),
            (["--from", "today", "--to", "yesterday"], "is before --from"),
        ],
    )
    def test_contradictions_are_refused(self, noon, arguments: list[str], message: str):
        ended = run_command("usage_today", *arguments)

        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err

    def test_misspelt_period_suggests_one(self):
        with pytest.raises(CommandError, match="Did you mean 'last-month'"):
            call_command("usage_today", "lastmonth")


class TestCells:
    @pytest.mark.parametrize(
        ("amount", "shown"),
        [
            (None, "unknown"),
            (Decimal(0), "0.000000"),
            (Decimal("0.0000004"), "<0.000001"),
            (Decimal("1234.5"), "1,234.500000"),
        ],
    )
    def test_money(self, amount: Decimal | None, shown: str):
        assert formatting.money(amount) == shown

    @pytest.mark.parametrize(
        ("now", "before", "shown"),
        [(3, 2, "+50.0%"), (1, 2, "-50.0%"), (2, 2, "+0.0%"), (2, 0, "-"), (None, 2, "-")],
    )
    def test_change(self, now: int | None, before: int, shown: str):
        assert formatting.change(now, before) == shown


@pytest.mark.django_db
class TestRich:
    def test_terminal_shows_the_same_numbers(self, calls):
        shown = shown_on(Terminal())

        assert "\x1b[1m" in shown
        assert words(shown) == words(PAGE)

    def test_markup_in_names_is_text(self, noon):
        save_log(model_name="[red]x[/red]")

        assert "[red]x[/red] (openai)" in shown_on(Terminal())

    @pytest.mark.parametrize("missing", ["rich", "rich.table"])
    def test_terminal_without_rich_is_plain(self, calls, monkeypatch, missing: str):
        monkeypatch.delitem(sys.modules, "usage_tracking.contrib.rich", raising=False)
        monkeypatch.setitem(sys.modules, missing, None)

        assert shown_on(Terminal()) == PAGE

    def test_pipe_is_plain(self, calls):
        assert shown_on(StringIO()) == PAGE

    def test_no_color_option_is_plain(self, calls):
        assert shown_on(Terminal(), no_color=True) == PAGE

    def test_no_color_variable_is_plain(self, calls, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")

        assert shown_on(Terminal()) == PAGE

    def test_force_color_in_a_pipe(self, calls):
        assert words(shown_on(StringIO(), force_color=True)) == words(PAGE)


@pytest.mark.django_db
class TestJson:
    def test_keys_and_types(self, calls):
        ended = run_command("usage_today", "--json")
        report = json.loads(ended.out)

        assert (ended.code, ended.err) == (0, "")
        assert list(report) == [
            "date",
            "until",
            "timezone",
            "user",
            "section",
            "totals",
            "previous",
            "by_section",
            "by_model",
            "top_users",
            "users",
            "outbox",
            "unpriced_models",
        ]
        assert list(report["totals"]) == FIGURES
        assert list(report["previous"]) == ["date", "until", *FIGURES]
        assert list(report["by_section"][0]) == ["section", "display_name", *FIGURES]
        assert list(report["by_model"][0]) == ["provider", "model_name", *FIGURES]
        assert list(report["top_users"][0]) == ["user_id", "username", *FIGURES]
        assert list(report["outbox"]) == ["bytes", "files", "dead_letters"]
        assert (report["date"], report["until"]) == ("2026-03-14", "2026-03-14T12:00:00+00:00")
        assert report["previous"]["until"] == "2026-03-13T12:00:00+00:00"
        assert report["totals"]["cost"] == "0.00320000"
        assert report["by_section"][1]["cost"] is None
        assert report["top_users"][2]["username"] is None
        assert report["users"] == 2
        setting = 'AI_USAGE_PRICES = {"anthropic:claude-x": {"input": ..., "output": ...}}'
        assert report["unpriced_models"] == [
            {
                "provider": "anthropic",
                "model_name": "claude-x",
                "calls": 1,
                "units": ["input_tokens", "output_tokens"],
                "reason": "no price for the model",
                "setting": setting,
            }
        ]

    def test_keys_match_the_docs(self, calls):
        page = (ROOT / "docs" / "commands.md").read_text()
        _, documented = page.split("`--json` has the keys", 1)
        top, figures, *_ = re.findall(r"`([^`]+)`", documented)
        report = json.loads(run_command("usage_today", "--json").out)

        assert top.replace("[]", "").split() == list(report)
        assert figures.split() == list(report["totals"])

    def test_quiet_prints_the_same(self, calls):
        loud = run_command("usage_today", "--json").out

        assert run_command("usage_today", "--json", verbosity=0).out == loud

    def test_empty_database_has_every_key(self, noon):
        report = json.loads(run_command("usage_today", "--json").out)

        assert list(report["totals"]) == FIGURES
        assert (report["totals"]["calls"], report["totals"]["cost"]) == (0, "0.00000000")
        assert report["totals"]["average_response_time_ms"] is None
        assert report["top_users"] == []


@pytest.mark.django_db
class TestRefusals:
    def test_unknown_user(self):
        make_user("charlotte")

        assert run_command("usage_today", "--user", "charlote") == (
            2,
            "",
            "There is no user 'charlote'. Did you mean 'charlotte'?\n",
        )

    def test_empty_user_is_refused(self):
        assert run_command("usage_today", "--user", "").code == 2

    def test_ambiguous_user(self):
        user = make_user("ada")
        make_user(str(user.pk))

        ended = run_command("usage_today", "--user", str(user.pk))

        assert (ended.code, ended.out) == (2, "")
        assert "is the name of one and the id of another" in ended.err

    def test_unknown_section(self):
        assert run_command("usage_today", "--section", "chatt") == (
            2,
            "",
            "There is no section 'chatt'. Did you mean 'chat'?\n",
        )

    @pytest.mark.parametrize(
        "text", ["14.03.2026", "2026-02-30", "tomorrow", "", "0001-01-01", "2026-03-14T12:00"]
    )
    def test_malformed_date(self, text: str):
        with pytest.raises(CommandError, match=r"is not a valid date \(YYYY-MM-DD\)"):
            call_command("usage_today", "--date", text)

    @pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "1e300"])
    def test_invalid_interval(self, text: str):
        with pytest.raises(CommandError, match="must be seconds above 0, at most 86400"):
            call_command("usage_today", f"--watch={text}")

    def test_unknown_database(self):
        with pytest.raises(CommandError, match=r"There is no database 'elsewhere'\."):
            call_command("usage_today", "--database", "elsewhere")


@pytest.mark.process
@pytest.mark.one_driver
class TestProcess:
    """Cases with another exit code than 1, or that must not use the test database."""

    def test_database_without_tables(self, tmp_path, empty_database_url: str):
        for arguments in ([], ["--user", "ada"], ["--section", "elsewhere"], ["--watch", "9"]):
            ended = manage(tmp_path, *arguments, DATABASE_URL=empty_database_url)

            assert (ended.returncode, ended.stdout, ended.stderr) == (
                2,
                "",
                "CommandError: Database 'default' has no table ai_usage_log: "
                "run `manage.py migrate --database default`\n",
            )

    def test_unavailable_database(self, tmp_path):
        ended = manage(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/none/db.sqlite3")

        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("CommandError: Database 'default' cannot be read: ")
        assert "Traceback" not in ended.stderr

    def test_invalid_argument_exits_with_2(self, tmp_path):
        ended = manage(tmp_path, "--date", "soon")

        assert (ended.returncode, ended.stdout) == (2, "")
        assert "'soon' is not a valid date (YYYY-MM-DD)" in ended.stderr


@pytest.mark.process
class TestDatabase:
    SETTINGS = """
        DATABASES["other"] = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(BASE_DIR / "other.sqlite3"),
        }
    """
    CODE = """
        import json
        from io import StringIO
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from usage_tracking.models import AIUsageLog

        call_command("migrate", database="other", verbosity=0)
        AIUsageLog(
            user=User.objects.using("other").create(username="ada"), section="chat"
        ).save(using="other")

        def show(*arguments):
            out = StringIO()
            call_command("usage_today", "--json", *arguments, stdout=out)
            report = json.loads(out.getvalue())
            print(report["totals"]["calls"], report["top_users"][0]["username"])
    """

    def run(self, directory: Path, ending: str, settings: str = "") -> str:
        settings = dedent(self.SETTINGS).replace("BASE_DIR", f"Path({str(directory)!r})") + settings
        return run_python(
            directory,
            dedent(self.CODE) + ending,
            settings=settings,
            DATABASE_URL=f"sqlite:///{directory}/empty.sqlite3",
        )

    def test_other_database_is_read(self, tmp_path):
        assert self.run(tmp_path, 'show("--database", "other", "--user", "ada")') == "1 ada\n"

    def test_router_chooses_the_database(self, tmp_path):
        (tmp_path / "routers.py").write_text(
            "class Router:\n"
            "    def db_for_read(self, model, **hints):\n"
            "        return 'other'\n"
            "    db_for_write = db_for_read\n"
        )

        out = self.run(tmp_path, 'show("--user", "ada")', 'DATABASE_ROUTERS = ["routers.Router"]\n')

        assert out == "1 ada\n"


@pytest.mark.django_db
class TestWatch:
    def test_report_is_repeated_with_new_numbers(self, calls, monkeypatch):
        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                raise KeyboardInterrupt
            save_log()

        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", sleep)

        ended = run_command("usage_today", "--watch", "2.5")

        assert (ended.code, ended.err, slept) == (0, "", [2.5, 2.5])
        assert ended.out.startswith(PAGE)
        assert "\nCalls                             5 " in ended.out[len(PAGE) :]

    def test_terminal_is_cleared_and_a_pipe_is_not(self, calls, monkeypatch):
        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(time, "sleep", interrupt)

        assert shown_on(Terminal(), watch=1, no_color=True) == f"\x1b[2J\x1b[H{PAGE}"
        assert shown_on(StringIO(), watch=1) == PAGE

    def test_json_is_one_line_per_report(self, calls, monkeypatch):
        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                raise KeyboardInterrupt

        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", sleep)

        out = run_command("usage_today", "--json", "--watch", "1").out

        assert [json.loads(line)["totals"]["calls"] for line in out.splitlines()] == [4, 4]

    def test_control_c_with_a_failing_rollback_ends_quietly(self, monkeypatch):
        def interrupt(*_: Any, **__: Any) -> None:
            try:
                raise KeyboardInterrupt
            finally:
                raise DatabaseError("the connection is lost")

        monkeypatch.setattr(reports, "day_report", interrupt)

        assert run_command("usage_today", "--watch", "1") == (0, "", "")

    @pytest.mark.process
    def test_control_c_ends_quietly(self, tmp_path, database_url: str):
        with (
            subprocess.Popen(
                [sys.executable, "-c", MANAGE, "--watch", "3600", "-v", "0"],
                cwd=tmp_path,
                env=make_site(tmp_path) | {"DATABASE_URL": database_url},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=hear_control_c,
            ) as process,
            awaiting_output(process),
        ):
            assert process.stdout is not None
            out = ""
            while (line := process.stdout.readline()) and not line.startswith("OUTBOX"):
                out += line
            process.send_signal(signal.SIGINT)
            rest, err = finish(process)
        assert (process.returncode, err) == (0, ""), out + line + rest


def manage(
    directory: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `manage.py usage_today` in a process."""
    return run(
        [sys.executable, "-c", MANAGE, *arguments],
        cwd=directory,
        env=make_site(directory) | environment,
    )
