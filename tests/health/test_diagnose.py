"""`diagnose_ai_usage` on healthy and on broken sites."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import override_settings
from rest_framework.exceptions import APIException

from tests.support.builders import accept_section, make_event, make_user, refuse_section
from tests.support.children import make_site
from tests.support.commands import Ended, run_command
from tests.support.comparison import without_capture
from tests.support.distributions import Distributions
from tests.support.ledger import assert_in_step
from tests.support.sites import make_calls, manage, tables
from usage_tracking import errors, outbox
from usage_tracking.capture import TRANSPORTS, selftest
from usage_tracking.capture.selftest_answers import OPENAI_CHAT
from usage_tracking.capture.selftest_sdks import REQUEST, SDK
from usage_tracking.delivery import delivery
from usage_tracking.events import UNKNOWN
from usage_tracking.health import activity, probe, site
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.outbox import Outbox

pytestmark = [pytest.mark.django_db, pytest.mark.server]

LOGS = "/api/v1/ai/usage/logs/"
CHECK = "python manage.py check"
OURS = "usage_tracking.middleware.AIUsageMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
TRIED = [
    ("httpx", "sync"),
    ("httpx", "async"),
    ("httpx2", "sync"),
    ("httpx2", "async"),
    ("requests", "sync"),
    ("aiohttp", "async"),
    ("botocore", "sync"),
    ("websockets", "sync"),
    ("websockets", "async"),
    ("aiohttp", "async websocket"),
]


@pytest.fixture(autouse=True)
def _as_begun(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AI_USAGE_SECTIONS = {"chat": "Chat", "other": "Other"}
    monkeypatch.setattr(errors, "failures", Counter())


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("john_doe")


@pytest.fixture
def healthy(user: User) -> User:
    """A site whose calls of the last minutes have no problem."""
    make_calls(user)
    make_calls(user, 5, section="other")
    return user


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    monkeypatch.setattr(probe, "WAIT", 120.0)  # the machine may be busy
    return tmp_path / "outbox"


@pytest.fixture
def live(box: Path, transactional_db: None, healthy: User) -> Iterator[Path]:
    """A healthy site as in production: an outbox on disk, and a thread that delivers."""
    yield box
    threads = [thread for thread in threading.enumerate() if thread.name == "ai_usage_delivery"]
    delivery.stop()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "the thread that delivers did not end"
    delivery.after_fork()  # reset it


def diagnose(*arguments: str) -> Ended:
    return run_command("diagnose_ai_usage", "--skip-sdks", *arguments)


def problems(*arguments: str, code: int = 1) -> list[tuple[str, str, str]]:
    """Return code, text and fix of each problem."""
    ended = diagnose("--json", *arguments)
    report = json.loads(ended.out)
    assert (ended.code, report["exit_code"]) == (code, code)
    return [(found["code"], found["text"], found["fix"]) for found in report["problems"]]


def findings(code: str, *arguments: str) -> list[tuple[str, str, str]]:
    """Return level, text and fix of each finding with that code."""
    report = json.loads(diagnose("--json", *arguments).out)
    return [
        (found["level"], found["text"], found["fix"])
        for test in report["tests"]
        for found in test["findings"]
        if found["code"] == code
    ]


def healthy_output(last: str, *, kept: str = "", outbox_lines: str = "") -> str:
    rows = AIUsageLog.objects.count() - bool(kept)
    transports = "".join(
        f"  ✅ {name} {version(name)} ({mode}) is captured\n" for name, mode in TRIED
    )
    mark = "✅" if outbox_lines else "-"
    outbox_lines = outbox_lines or "  - Not used: rows are written on the caller's connection\n"
    return f"""\
==================================================
AI USAGE TRACKING DIAGNOSTIC SCRIPT
==================================================

Test 1: Checking if models are accessible... ✅
  ✅ Models are accessible

Test 2: Getting test user... ✅
  ✅ Using user: john_doe (ID: {User.objects.get(username="john_doe").pk})

Test 3: Checking existing logs... ✅
  - AIUsageLog entries: {rows}
  - AIUsageTracking entries: 1
  ✅ Can query existing logs

Test 4: Tracking test AI usage... ✅
  ✅ Tracking successful!

Test 5: Verifying data was saved... ✅
  ✅ Latest AIUsageLog found
  ✅ Today's AIUsageTracking found
{kept}
Test 6: Checking API endpoints... ✅
  ✅ /api/v1/ai/ answers (401)
  ✅ /api/v1/ai/usage/report/ answers (401)
  ✅ /api/v1/ai/usage/logs/ answers (401)
  ✅ /api/v1/ai/usage/logs/stats/ answers (401)
  ✅ /api/v1/ai/usage/logs/global/ answers (401)
  ✅ /api/v1/ai/usage/stats/ answers (401)
  ✅ /api/v1/ai/usage/global/ answers (401)
  ✅ /api/v1/ai/usage/reconciliation/ answers (401)

Test 7: Checking the middleware... ✅
  ✅ AIUsageMiddleware is in place

Test 8: Checking the settings... ✅
  ✅ The settings are valid

Test 9: Checking capture of the installed transports... ✅
{transports}
Test 10: Checking capture of the installed SDKs... -
  - Skipped

Test 11: Checking the outbox... {mark}
{outbox_lines}
Test 12: Checking that daily rows match AIUsageLog... ✅
  ✅ The daily rows match AIUsageLog

Test 13: Checking the activity of the last 24 hours... ✅
  - Calls: 25
  ✅ The last call was recorded at {last}
  ✅ Tracking itself had no errors in this process

Test 14: Checking failures and missing data... ✅
  ✅ Failed: 0 of 25 (0.0 %)
  ✅ Without a user: 0 of 25 (0.0 %)
  ✅ Without tokens: 0 of 25 (0.0 %)
  ✅ Without a price: 0 of 25 (0.0 %)

Test 15: Checking sections... ✅
  ✅ Each of the 2 sections has calls

Test 16: Checking for unknown hosts... ✅
  ✅ All hosts are known providers

Test 17: Checking the providers' bills... -
  - AI_USAGE_BILLING is not set: the log is not compared with bills

✅ AI Usage Tracking is WORKING!
"""


def last_call() -> str:
    calls = AIUsageLog.objects.exclude(model_name="self-test")
    return f"{calls.latest('created_at').created_at:%F %T}"


class TestHealthySite:
    def test_passes_every_test(self, healthy):
        assert diagnose() == (0, healthy_output(last_call()), "")

    def test_leaves_no_trace(self, healthy):
        before = tables()

        assert diagnose().code == 0

        assert tables() == before

    def test_day_without_a_call_gets_no_daily_row(self, user):
        assert diagnose().code == 0

        assert tables() == [[], []]

    @pytest.mark.process  # for the test of locks
    def test_leaves_no_trace_on_a_live_site(self, live):
        before = tables()
        lines = (
            f"  ✅ The outbox {live} can be written\n"
            "  ✅ Locks on files in the outbox keep other processes out\n"
            "  ✅ 0 calls wait for the database\n"
        )

        assert diagnose() == (0, healthy_output(last_call(), outbox_lines=lines), "")

        assert tables() == before
        assert Outbox(live).dead_letters() == []

    def test_keep_leaves_only_the_test_call(self, healthy):
        before, _ = tables()

        ended = diagnose("--keep")

        kept = AIUsageLog.objects.get(model_name="self-test")
        line = f"  - Kept: AIUsageLog {kept.pk}\n"
        assert ended == (0, healthy_output(last_call(), kept=line), "")
        assert (kept.user, kept.section, kept.total_tokens) == (healthy, "other", 18)
        assert [row for row in tables()[0] if row["id"] != kept.pk] == before
        assert_in_step()
        diagnose()
        assert AIUsageLog.objects.filter(pk=kept.pk).exists()

    def test_removes_the_row_of_a_killed_run(self, healthy):
        before = tables()
        other = make_user("other")
        make_calls(other, 1, minutes=2, model_name="self-test", metadata={probe.MARK: "remove"})

        diagnose()

        assert tables() == before

    def test_keeps_the_test_call_of_another_run(self, healthy, monkeypatch):
        monkeypatch.setattr(probe, "_IN_USE", dt.timedelta(hours=1))  # a busy machine is slow
        make_calls(healthy, 1, minutes=30, model_name="self-test", metadata={probe.MARK: "remove"})

        diagnose()

        assert AIUsageLog.objects.filter(model_name="self-test").count() == 1

    def test_site_may_ignore_unknown_hosts(self, healthy, settings):
        settings.AI_USAGE_UNKNOWN_HOSTS = False

        assert problems(code=0) == []
        assert findings("tracked") == [("ok", "Tracking successful!", "")]

    def test_shares_within_the_thresholds_are_ok(self, healthy):
        make_calls(healthy, 1, success=False, cost=None, usage_source=UNKNOWN)

        assert problems(code=0) == []
        assert findings("failure_rate") == [("ok", "Failed: 1 of 26 (3.8 %)", "")]
        # It has no tokens because it failed, so it counts only as a failure.
        assert findings("unknown") == [("ok", "Without tokens: 0 of 26 (0.0 %)", "")]

    def test_few_calls_are_not_judged(self, healthy):
        make_calls(healthy, 15, success=False)

        assert findings("failure_rate", "--min-calls", "41") == [
            ("note", "Failed: 15 of 40 (37.5 %), too few calls to judge", "")
        ]

    @pytest.mark.costly
    def test_every_sdk_is_tried(self, healthy):
        ended = run_command("diagnose_ai_usage", "--json")

        (sdks,) = [t for t in json.loads(ended.out)["tests"] if t["number"] == 10]
        assert {f["code"] for f in sdks["findings"]} == {"sdk"}
        assert f"openai {version('openai')} (sync) is captured" in {
            found["text"] for found in sdks["findings"]
        }


class TestSDKs:
    """What the test of SDKs claims agrees with what it found."""

    LOOK = "with usage_tracking.testing.captured_ai_usage() as calls: ...  # a call; print(calls)"
    RECORD = "with ai_usage(section=...) as usage: usage.record(response)"

    @pytest.fixture(autouse=True)
    def distributions(
        self, healthy: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Distributions:
        """Two SDKs that can be installed: one that is captured, and one that is not."""
        monkeypatch.setattr(
            selftest,
            "SDKS",
            (
                SDK("seen-sdk", "json", OPENAI_CHAT, (_seen,)),
                SDK("unseen-sdk", "json", OPENAI_CHAT, (_unseen,)),
            ),
        )
        return Distributions(tmp_path, monkeypatch)

    def diagnose(self, code: int = 0) -> tuple[str, list[tuple[str, str, str, str]]]:
        """Return the printed title with its verdict, and the findings in JSON."""
        printed = run_command("diagnose_ai_usage")
        ended = run_command("diagnose_ai_usage", "--json")
        assert (printed.code, ended.code) == (code, code)
        (title,) = re.findall("^Test 10: (.*)$", printed.out, re.M)
        (test,) = [test for test in json.loads(ended.out)["tests"] if test["number"] == 10]
        for finding in test["findings"]:
            assert finding["text"] in printed.out
        return title, [tuple(finding.values()) for finding in test["findings"]]

    def test_all_are_captured(self, distributions):
        distributions.add("seen-sdk", "1.2")
        distributions.add("langchain-openai", "1.7.4", "openai")

        assert self.diagnose() == (
            "Checking capture of the installed SDKs... ✅",
            [
                ("ok", "sdk", "seen-sdk 1.2 (sync) is captured", ""),
                ("note", "sdk_sends_through", "langchain-openai 1.7.4 sends through openai", ""),
            ],
        )

    def test_some_are_unknown(self, distributions):
        distributions.add("seen-sdk", "1.2")
        distributions.add("deepgram-sdk", "7.16.0")
        distributions.add("claude-agent-sdk", "0.2.184")

        assert self.diagnose() == (
            "Checking capture of the installed SDKs... ⚠️",
            [
                ("ok", "sdk", "seen-sdk 1.2 (sync) is captured", ""),
                (
                    "warning",
                    "sdk_not_seen",
                    "claude-agent-sdk 0.2.184 is not captured: another process sends its calls",
                    self.RECORD,
                ),
                (
                    "warning",
                    "sdk_unknown",
                    "Cannot vouch for deepgram-sdk 7.16.0: no test call is known",
                    self.LOOK,
                ),
            ],
        )

    def test_one_is_not_captured(self, distributions):
        distributions.add("seen-sdk", "1.2")
        distributions.add("unseen-sdk", "3.4")

        assert self.diagnose(1) == (
            "Checking capture of the installed SDKs... ❌",
            [
                ("ok", "sdk", "seen-sdk 1.2 (sync) is captured", ""),
                (
                    "problem",
                    "sdk_not_captured",
                    "unseen-sdk 3.4 (sync) is not captured: no hook saw it",
                    self.RECORD,
                ),
            ],
        )

    def test_transport_is_left_out(self, distributions, settings):
        settings.AI_USAGE_CAPTURE = sorted({*TRANSPORTS} - {"requests"})
        distributions.add("seen-sdk", "1.2")

        assert self.diagnose(1) == (
            "Checking capture of the installed SDKs... ❌",
            [
                (
                    "problem",
                    "sdk_not_captured",
                    "seen-sdk 1.2 (sync) is not captured: no hook saw it: "
                    "AI_USAGE_CAPTURE leaves out requests",
                    "AI_USAGE_CAPTURE = True",
                ),
            ],
        )

    def test_capture_is_off(self, distributions, settings):
        settings.AI_USAGE_CAPTURE = False
        distributions.add("seen-sdk", "1.2")
        distributions.add("deepgram-sdk", "7.16.0")

        title, found = self.diagnose(1)

        assert title == "Checking capture of the installed SDKs... -"
        assert found == [("note", "not_tried", "Not tested: capture is off", "")]

    def test_none_is_installed(self):
        assert self.diagnose() == (
            "Checking capture of the installed SDKs... -",
            [("note", "no_sdk", "No known AI SDK is installed", "")],
        )

    def test_what_an_sdk_prints_is_not_in_the_report(self, distributions, monkeypatch, capsys):
        distributions.add("loud-sdk", "1.2")
        distributions.write_module("loud_sdk", "print('Give Feedback / Get Help')")
        sdk = SDK("loud-sdk", "loud_sdk", OPENAI_CHAT, (_seen,))
        monkeypatch.setattr(selftest, "SDKS", (sdk,))

        assert self.diagnose()[0] == "Checking capture of the installed SDKs... ✅"
        assert capsys.readouterr().out == ""


def _seen(url: str) -> None:
    import_module("requests").post(f"{url}/v1/chat/completions", json=REQUEST, timeout=9)


def _unseen(url: str) -> None:
    with urlopen(f"{url}/v1/chat/completions", data=json.dumps(REQUEST).encode(), timeout=9):
        pass


class TestUser:
    def test_is_the_first_superuser(self, healthy):
        make_user("aaron")

        assert findings("user") == [("ok", f"Using user: john_doe (ID: {healthy.pk})", "")]

    def test_is_an_active_user_where_there_is_no_superuser(self):
        make_user("gone", is_active=False)
        ada = make_user()

        assert findings("user") == [("ok", f"Using user: ada (ID: {ada.pk})", "")]

    def test_can_be_named(self, healthy, subtests):
        ada = make_user()

        for name in ("ada", str(ada.pk)):
            with subtests.test(name):
                assert findings("user", "--user", name) == [
                    ("ok", f"Using user: ada (ID: {ada.pk})", "")
                ]

    def test_unknown_user_ends_the_run(self, healthy, subtests):
        for name in ("nobody", "99999999", "9" * 30):
            with subtests.test(name):
                assert problems("--user", name, code=2) == [
                    (
                        "no_such_user",
                        f"There is no user '{name}'",
                        "Omit --user, or use the username or primary key of an existing user.",
                    )
                ]


class TestBrokenSite:
    def test_middleware_is_missing(self, healthy, settings):
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]

        assert problems() == [
            (
                "check_w002",
                "AIUsageMiddleware is not in MIDDLEWARE: AI calls made in requests have no user.",
                f'Add "{OURS}" after the authentication middleware.',
            )
        ]

    def test_middleware_is_before_authentication(self, healthy, settings):
        settings.MIDDLEWARE = [OURS, AUTHENTICATION]

        assert problems() == [
            (
                "check_w003",
                "AIUsageMiddleware is at position 0 of MIDDLEWARE, before "
                "AuthenticationMiddleware at position 1.",
                f'Move "{OURS}" after it.',
            )
        ]

    def test_queue_does_not_pass_on_the_user(self, healthy, settings, monkeypatch):
        found = site.find_spec
        monkeypatch.setattr(
            site, "find_spec", lambda name: sys if name in {"rq", "huey"} else found(name)
        )
        settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.database.DatabaseBackend"}}

        assert findings("jobs_without_user") == [
            (
                "note",
                "Jobs of huey, rq, Django's tasks do not pass on the user: set it in the job, "
                "with ai_usage(user=..., section=...)",
                "",
            )
        ]
        assert problems(code=0) == []

    def test_immediate_tasks_pass_on_the_user(self, healthy, settings):
        settings.TASKS = {
            "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
        }

        assert findings("jobs_without_user") == []

    def test_threads_are_not_instrumented(self, healthy, settings):
        settings.AI_USAGE_PROPAGATE_THREADS = False

        ((level, text, _),) = findings("threads_without_user")

        assert (level, text.partition(":")[0]) == (
            "note",
            "AI_USAGE_PROPAGATE_THREADS is False",
        )

    def test_consumers_are_not_instrumented(self, healthy, monkeypatch):
        consumers = ModuleType("channels.consumer")
        consumers.AsyncConsumer = type("AsyncConsumer", (), {"__call__": len})
        monkeypatch.setitem(sys.modules, "channels.consumer", consumers)

        ((level, text, _),) = findings("channels_not_followed")

        assert (level, text.partition(":")[0]) == (
            "warning",
            "The consumers of Channels are not instrumented",
        )

    def test_setting_is_misspelt(self, healthy, settings):
        settings.AI_USAGE_GATEWAY = {}

        assert problems() == [
            (
                "check_w001",
                "AI_USAGE_GATEWAY is not a setting of usage_tracking.",
                "Did you mean AI_USAGE_GATEWAYS?",
            )
        ]

    def test_invalid_setting_does_not_end_the_run(self, healthy, settings, subtests):
        settings.AI_USAGE_RAISE_ERRORS = False

        with subtests.test("SECTIONS"), override_settings(AI_USAGE_SECTIONS=7):
            assert {code for code, _, _ in problems()} >= {"check_e001", "unexpected"}
        with subtests.test("zone"), override_settings(AI_USAGE_DAY_TIMEZONE="Mars/Olympus"):
            assert {code for code, _, _ in problems()} >= {"check_e004", "unexpected"}

    def test_there_is_no_user(self):
        make_user("gone", is_active=False)

        assert problems() == [
            (
                "no_user",
                "There is no active user for the test call",
                "python manage.py createsuperuser",
            )
        ]
        assert findings("not_sent") == [
            ("note", "Not sent: there is no user for the test call", "")
        ]

    def test_tracking_is_disabled(self, healthy, settings):
        settings.AI_USAGE_ENABLED = False

        assert problems() == [
            (
                "disabled",
                "AI_USAGE_ENABLED is False: no call is recorded",
                "AI_USAGE_ENABLED = True",
            )
        ]

    def test_capture_is_off(self, healthy, settings, subtests):
        values: list[Any] = [False, []]
        for value in values:
            settings.AI_USAGE_CAPTURE = value
            with subtests.test(str(value)):
                assert problems() == [
                    (
                        "capture_off",
                        f"AI_USAGE_CAPTURE is {value!r}: no call is captured",
                        "AI_USAGE_CAPTURE = True",
                    )
                ]

    def test_transport_is_left_out(self, healthy, settings):
        settings.AI_USAGE_CAPTURE = sorted({*TRANSPORTS} - {"requests"})

        assert findings("transport_left_out") == [
            ("warning", "requests is not in AI_USAGE_CAPTURE", "AI_USAGE_CAPTURE = True")
        ]

    def test_newer_version_of_a_transport_cannot_be_hooked(self, healthy, monkeypatch):
        import requests

        from usage_tracking.capture import requests as hooks

        hooks.unhook(requests)
        real = version
        monkeypatch.setattr(
            metadata, "version", lambda name: "99.0" if name == "requests" else real(name)
        )
        try:
            assert problems() == [
                (
                    "transport_not_captured",
                    "requests 99.0 (sync) is not captured: no hook saw it: "
                    "unsupported version: expected methods are missing",
                    'pip install "requests<99.0"',
                )
            ]
        finally:
            hooks.hook(requests, "requests")

    def test_no_transport_is_hooked(self, healthy):
        with without_capture():
            codes = {code for code, _, _ in problems()}

        assert "no_transport" in codes

    def test_call_fails(self, healthy, monkeypatch):
        def refuse() -> str:
            raise ConnectionRefusedError("no way")

        monkeypatch.setattr(selftest, "send", refuse)

        assert problems() == [
            (
                "not_made",
                "The call to a server on 127.0.0.1 failed: ConnectionRefusedError: no way",
                "Allow the site to connect to 127.0.0.1.",
            )
        ]

    def test_call_is_not_captured(self, healthy, monkeypatch):
        monkeypatch.setattr(selftest, "send", lambda: "httpx")

        assert [code for code, _, _ in problems()] == ["not_captured"]

    def test_call_is_not_delivered(self, healthy, monkeypatch):
        monkeypatch.setattr(probe, "WAIT", 0.0)
        monkeypatch.setattr(delivery._deliverer, "deliver", lambda *_, **__: True)

        assert problems() == [
            (
                "not_delivered",
                "The call was captured, but not delivered within 0 s",
                "python manage.py flush_ai_usage",
            )
        ]
        outbox.get().clear()

    @pytest.mark.process  # for the test of locks
    def test_database_refuses_the_call(self, live):
        with _refusing("other"):
            found = problems()

        assert ("refused", "python manage.py flush_ai_usage --retry-dead") in {
            (code, fix) for code, _, fix in found
        }

    def test_daily_rows_do_not_match(self, healthy):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ai_usage_tracking SET total_requests = total_requests + 2")

        day = AIUsageTracking.objects.get().date
        assert problems() == [
            (
                "drift",
                "1 daily rows do not match AIUsageLog: the first is that of john_doe on "
                f"{day}, with 2 requests too many",
                "python manage.py diagnose_ai_usage --repair",
            )
        ]

    def test_daily_rows_were_deleted(self, healthy):
        AIUsageTracking.objects.all().delete()

        ((code, text, fix),) = problems()
        assert (code, fix) == ("drift", "python manage.py diagnose_ai_usage --repair")
        assert text.endswith(", with 25 requests missing")

    def test_repair_rebuilds_daily_rows(self, healthy):
        AIUsageTracking.objects.all().delete()

        assert [level for level, _, _ in findings("mended", "--repair")] == ["ok"]
        assert_in_step()
        assert problems(code=0) == []

    def test_outbox_cannot_be_written(self, live, tmp_path, settings):
        (tmp_path / "file").touch()
        settings.AI_USAGE_OUTBOX = tmp_path / "file"

        assert (
            "check_w005",
            f"The outbox {tmp_path / 'file'} cannot be written: Not a directory (ENOTDIR). "
            "Events are lost if their process dies.",
            "Set AI_USAGE_OUTBOX to a directory that the site can write.",
        ) in problems()

    @pytest.mark.process  # for the test of locks
    def test_outbox_has_a_backlog(self, live):
        living = Outbox(live)
        for _ in range(3):
            living.put(make_event())

        (found,) = problems("--max-backlog", "2")
        text = "3 calls wait for the database, more than 2, the oldest for "
        assert (found[0], found[2]) == ("backlog", "python manage.py flush_ai_usage")
        assert re.fullmatch(text + r"[\d]+ days, \d+:\d\d:\d\d", found[1])
        living.close()

    @pytest.mark.process  # for the test of locks
    def test_dead_processes_left_undelivered_calls(self, live):
        dead = Outbox(live)
        dead.put(make_event())
        dead.close()
        (path,) = live.glob("*.jsonl")
        os.utime(path, (0, time.time() - 3600))

        ((code, text, fix),) = problems()
        assert (code, fix) == ("orphans", "python manage.py flush_ai_usage")
        assert re.fullmatch(
            r"1 calls waited in 1 files of dead processes for 1:\d\d:\d\d: "
            "no living process delivered them",
            text,
        )
        assert problems(code=0) == []  # the test call had them delivered

    @pytest.mark.process  # for the test of locks
    def test_process_died_just_now(self, live):
        dead = Outbox(live)
        dead.put(make_event())
        dead.close()

        assert problems(code=0) == []

    @pytest.mark.process  # for the test of locks
    def test_there_are_dead_letters(self, live):
        Outbox(live).dead_letter(make_event(), "IntegrityError: no")

        assert problems() == [
            (
                "dead_letters",
                "The database refused 1 calls. First reason: IntegrityError: no",
                "python manage.py flush_ai_usage --retry-dead",
            )
        ]

    @pytest.mark.process  # for the test of locks
    def test_full_outbox_dropped_calls(self, live):
        outbox.get()._complaints.dropped = 7

        assert [code for code, _, _ in problems()] == ["dropped"]

    def test_no_call_for_two_hours(self, user):
        make_calls(user, minutes=120)
        make_calls(user, 5, minutes=121, section="other")

        assert problems() == [
            (
                "silence",
                f"No call was recorded in the last 1 h; the last call was at {last_call()}",
                'grep -e TRACK_ERROR -e TRACK_EXCEPTION "$LOG_FILE"',
            )
        ]
        assert problems("--max-silence", "3", code=0) == []

    def test_no_call_succeeded(self, user):
        make_calls(user, 500, minutes=120)
        make_calls(user, 1, section="other", success=False)

        assert [(code, text) for code, text, _ in problems()] == [
            ("no_success", "No call of the last 1 h succeeded")
        ]

    def test_tracking_itself_fails(self, healthy):
        errors.failures.update({"Exchange.chunk": 3, "_hook": 1})

        assert problems() == [
            (
                "errors",
                "Tracking itself failed 4 times in this process: "
                "Exchange.chunk (3 times), _hook (1 times)",
                'grep -A 20 TRACK_EXCEPTION "$LOG_FILE"',
            )
        ]

    @pytest.mark.parametrize(
        ("code", "changes", "text", "fix"),
        [
            (
                "failure_rate",
                {"success": False},
                "Failed: 75 of 100 (75.0 %), more than 5 %",
                "success=False",
            ),
            (
                "unattributed",
                {"user": None},
                "Without a user: 75 of 100 (75.0 %), more than 50 %",
                "with ai_usage(section=..., user=user):",
            ),
            (
                "unknown",
                {
                    "usage_source": UNKNOWN,
                    "prompt_tokens": None,
                    "completion_tokens": None,
                    "cost": None,
                },
                "Without tokens: 75 of 100 (75.0 %), more than 20 %",
                'AI_USAGE_STREAM_USAGE = "request"',
            ),
            (
                "unpriced",
                {"cost": None},
                "Without a price: 75 of 100 (75.0 %), more than 20 %",
                "python manage.py reprice_ai_usage --only-unpriced",
            ),
        ],
    )
    def test_share_exceeds_its_threshold(self, healthy, code, changes, text, fix):
        make_calls(healthy, 75, **changes)

        ((found_code, found_text, found_fix),) = problems()
        assert (found_code, found_text) == (code, text)
        assert fix in found_fix
        option = f"--max-{code.replace('_', '-')}"
        assert problems(option, "75", code=0) == []

    def test_unpriced_models_are_named_with_the_setting_that_prices_them(self, healthy):
        reason = "no price for the model my-model of openai"
        make_calls(
            healthy, 4, cost=None, model_name="my-model", metadata={"unpriced_reason": reason}
        )
        make_calls(healthy, 2, cost=None)
        make_calls(healthy, 1, cost=None, metadata={"unpriced_reason": "counts contradict"})
        make_calls(healthy, 1, cost=None, success=False, model_name="failed")

        used = "input_tokens, output_tokens"
        assert findings("unpriced_model") == [
            (
                "warning",
                f"Without a price: my-model of openai (4 calls), {used}: no price for the model",
                'AI_USAGE_PRICES = {"openai:my-model": {"input": ..., "output": ...}}',
            ),
            (
                "warning",
                f"Without a price: gpt-4o of openai (3 calls), {used}",
                "python manage.py reprice_ai_usage --only-unpriced",
            ),
        ]

    def test_api_is_not_mounted(self, healthy, settings):
        settings.ROOT_URLCONF = _urls()

        mount = 'path("api/v1/ai/", include("usage_tracking.api.urls"))'
        assert findings("api_not_mounted") == [
            ("note", f"The REST API is not mounted. To mount it: {mount}", "")
        ]
        assert problems(code=0) == []

    def test_api_is_not_installed(self, healthy, monkeypatch, settings):
        settings.ROOT_URLCONF = _urls()
        _hide(monkeypatch, "django_filters")

        assert findings("api_not_installed") == [("note", "The REST API is not installed", "")]
        assert problems(code=0) == []

    def test_drf_spectacular_is_not_installed(self, healthy, monkeypatch):
        _hide(monkeypatch, "drf_spectacular")

        assert findings("api_not_installed") == []
        assert problems(code=0) == []

    def test_api_is_mounted_and_not_installed(self, healthy, monkeypatch, settings):
        _hide(monkeypatch, "django_filters")
        for name in [name for name in sys.modules if name.startswith("usage_tracking.api")]:
            monkeypatch.delitem(sys.modules, name)
        urls = _urls()
        urls.__getattr__ = lambda name: import_module("usage_tracking.api.urls")
        del urls.urlpatterns
        settings.ROOT_URLCONF = urls

        assert problems() == [
            (
                "api_not_installed",
                "The REST API is mounted but not installed: django_filters missing",
                'pip install "django-usage-tracking[api]"',
            )
        ]

    def test_api_raises(self, healthy, monkeypatch):
        def fail(*args: Any) -> None:
            raise DatabaseError("no such table")

        monkeypatch.setattr("project.authentication.BearerAuthentication.authenticate", fail)

        assert ("problem", f"{LOGS} raises DatabaseError: no such table", CHECK) in findings(
            "api_broken"
        )

    def test_api_answers_with_an_error(self, healthy, monkeypatch):
        def fail(*args: Any) -> None:
            raise APIException

        monkeypatch.setattr("project.authentication.BearerAuthentication.authenticate", fail)

        assert ("problem", f"{LOGS} answers 500", CHECK) in findings("api_broken")

    def test_sections_were_never_seen(self, healthy, settings):
        settings.AI_USAGE_SECTIONS = {"chat": "Chat", "rag": "RAG", "eval": "Eval"}

        assert findings("sections_never_seen") == [
            ("warning", "Never seen: rag, eval", "with ai_usage(section='rag'):")
        ]
        assert findings("sections_not_declared") == [
            (
                "warning",
                "Not in AI_USAGE_SECTIONS: other",
                "AI_USAGE_SECTIONS = "
                "{'chat': 'Chat', 'rag': 'RAG', 'eval': 'Eval', 'other': 'Other'}",
            )
        ]

    def test_default_sections_need_no_calls(self, healthy, settings):
        del settings.AI_USAGE_SECTIONS

        assert findings("sections_never_seen") == []
        assert findings("sections") == [("ok", "Each of the 2 sections has calls", "")]

    def test_undeclared_section_beside_the_default_ones(self, healthy, settings):
        del settings.AI_USAGE_SECTIONS
        make_calls(healthy, 1, section="search")

        assert findings("sections_never_seen") == []
        assert findings("sections_not_declared") == [
            (
                "warning",
                "Not in AI_USAGE_SECTIONS: search",
                "AI_USAGE_SECTIONS = "
                "{'chat': 'Customer Chat', 'other': 'Other', 'search': 'Search'}",
            )
        ]

    def test_default_section_without_calls_is_good(self, user):
        make_calls(user)

        assert findings("sections_never_seen") == []
        assert findings("sections") == [("ok", "Each of the 1 sections has calls", "")]

    def test_unknown_hosts_were_seen(self, healthy):
        for host, calls in (("llm.example.com", 3), ("10.0.0.7:8000", 2)):
            make_calls(healthy, calls, provider=UNKNOWN, metadata={"host": host})

        assert findings("unknown_host") == [
            (
                "warning",
                "llm.example.com is not a known provider (3 calls)",
                "AI_USAGE_GATEWAYS = {'llm.example.com': 'openai'}",
            ),
            (
                "warning",
                "10.0.0.7:8000 is not a known provider (2 calls)",
                "AI_USAGE_GATEWAYS['10.0.0.7:8000'] = 'openai'",
            ),
        ]

    def test_no_call_was_ever_made(self, user):
        assert findings("never") == [
            ("warning", "No call was ever recorded", "Make an AI call in the site, then try again.")
        ]

    def test_fix_of_unpriced_calls_names_the_setting_before_the_command(self, healthy):
        make_calls(healthy, 75, cost=None, model_name="my-model")

        ((code, _, fix),) = problems()
        assert (code, fix.splitlines()) == (
            "unpriced",
            [
                'AI_USAGE_PRICES = {"openai:my-model": {"input": ..., "output": ...}}',
                "Then run: python manage.py reprice_ai_usage --only-unpriced",
            ],
        )
        assert (
            '   Fix: AI_USAGE_PRICES = {"openai:my-model": {"input": ..., "output": ...}}\n'
            "        Then run: python manage.py reprice_ai_usage --only-unpriced\n"
        ) in diagnose("-v", "0").out

    def test_database_stops_answering(self, healthy, monkeypatch):
        def lost(*_: Any, **__: Any) -> None:
            raise DatabaseError("server closed the connection")

        monkeypatch.setattr(activity, "drift", lost)

        assert problems(code=2) == [
            (
                "database_error",
                "The database 'default' stopped answering: "
                "DatabaseError: server closed the connection",
                "python manage.py dbshell",
            )
        ]


class TestOutput:
    def test_mark_of_a_test_is_its_worst_finding(self, healthy, settings, monkeypatch):
        settings.AI_USAGE_GATEWAY = {}  # an unknown setting
        settings.AI_USAGE_SECTIONS = {"chat": "Chat", "rag": "RAG", "other": "Other"}

        lines = [line for line in diagnose().out.splitlines() if line.startswith("Test ")]

        assert lines[0] == "Test 1: Checking if models are accessible... ✅"
        assert "Test 8: Checking the settings... ❌" in lines
        assert "Test 10: Checking capture of the installed SDKs... -" in lines
        assert "Test 15: Checking sections... ⚠️" in lines

    def test_problems_are_listed_at_the_end(self, healthy, settings):
        settings.AI_USAGE_GATEWAY = {}

        code, out, err = diagnose()

        assert code == 1
        assert out.endswith(
            "\n❌ Problems:\n"
            "  ❌ AI_USAGE_GATEWAY is not a setting of usage_tracking.\n"
            "     Fix: Did you mean AI_USAGE_GATEWAYS?\n"
        )
        assert err == "1 problem found.\n"

    def test_verbosity_0_prints_problems_only(self, healthy, settings):
        assert diagnose("-v", "0") == (0, "", "")

        settings.AI_USAGE_GATEWAY = {}

        assert diagnose("-v", "0") == (
            1,
            "❌ AI_USAGE_GATEWAY is not a setting of usage_tracking.\n"
            "   Fix: Did you mean AI_USAGE_GATEWAYS?\n",
            "1 problem found.\n",
        )

    def test_json_has_the_documented_keys(self, healthy):
        ended = diagnose("--json")

        report = json.loads(ended.out)
        assert list(report) == ["working", "exit_code", "database", "tests", "problems"]
        assert (report["working"], report["database"], report["problems"]) == (True, "default", [])
        assert {tuple(test) for test in report["tests"]} == {("number", "title", "ok", "findings")}
        assert {tuple(found) for test in report["tests"] for found in test["findings"]} == {
            ("level", "code", "text", "fix")
        }
        assert [test["number"] for test in report["tests"]] == list(range(1, 18))

    def test_invalid_arguments_are_refused(self, subtests):
        for arguments, error in (
            (("--hours", "0"), "argument --hours: "),
            (("--hours", "nan"), "argument --hours: "),
            (("--max-silence", "-1"), "argument --max-silence: "),
            (("--max-failure-rate", "101"), "argument --max-failure-rate: "),
            (("--max-backlog", "-1"), "argument --max-backlog: "),
            (("--min-calls", "few"), "argument --min-calls: "),
            (("--user",), "argument --user: "),
            (("--database", "elsewhere"), "There is no database 'elsewhere'."),
        ):
            with subtests.test(" ".join(arguments)):
                code, out, err = diagnose(*arguments)

                # With `call_command`, argparse errors have no code of their own; see TestProcess.
                assert (code, out) == (1 if error.startswith("argument") else 2, "")
                assert error in err

    def test_control_c_removes_the_test_call(self, healthy, monkeypatch):
        before = tables()

        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(probe, "_verify", interrupt)

        ended = diagnose()

        assert (ended.code, ended.err) == (130, "Interrupted.\n")
        assert tables() == before

    def test_control_c_with_a_failing_rollback_is_an_interrupt(
        self, healthy, monkeypatch, subtests
    ):
        for test, error in (
            ("rows", DatabaseError("the connection is lost")),
            ("settings", DatabaseError("the connection is lost")),
            ("settings", RuntimeError("it is closed")),
        ):

            def interrupt(*_: Any, error: Exception = error, **__: Any) -> None:
                try:
                    raise KeyboardInterrupt
                finally:
                    raise error

            with subtests.test(test, error=error), monkeypatch.context() as patch:
                patch.setattr(site, test, interrupt)

                ended = diagnose()

                assert (ended.code, ended.err) == (130, "Interrupted.\n")


@pytest.mark.process
@pytest.mark.costly
@pytest.mark.one_driver
class TestProcess:
    """Run the command in a process."""

    @pytest.fixture
    def demo(self, tmp_path: Path, database_url: str) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DATABASE_URL": database_url,
            "AI_USAGE_OUTBOX": str(tmp_path / "outbox"),
            "LOG_FILE": str(tmp_path / "log"),
        }

    def test_demo_is_healthy(self, demo, healthy, tmp_path):
        before = tables()

        code, out, err = manage("diagnose_ai_usage", env=demo)

        assert (code, err) == (0, ""), out
        assert out.endswith("\n✅ AI Usage Tracking is WORKING!\n")
        assert "\x1b[" not in out
        assert tables() == before
        assert [path.name for path in (tmp_path / "outbox").iterdir()] == [".gitignore"]
        assert (tmp_path / "log").read_text().count("[TRACK_COMPLETE]") == 1

    def test_force_color_and_a_terminal_without_emoji(self, demo, healthy):
        """For a pipe without colours, see test_demo_is_healthy."""
        arguments = ("diagnose_ai_usage", "--skip-sdks", "--force-color")
        ended = manage(*arguments, env={**demo, "PYTHONIOENCODING": "ascii"})

        assert ended.code == 0, ended
        assert "\x1b[" in ended.out
        assert "? AI Usage Tracking is WORKING!" in ended.out

    def test_site_that_is_migrated_in_part(self, demo, empty_database_url):
        env = {**demo, "DATABASE_URL": empty_database_url}
        assert manage("migrate", "usage_tracking", "0001", "-v", "0", env=env).code == 0

        ended = manage("diagnose_ai_usage", "--skip-sdks", env=env)

        assert ended.code == 2, ended
        assert "stopped answering" not in ended.out
        last = ended.out[ended.out.index("❌ Problems:") :].splitlines()
        assert last[-2].startswith("  ❌ Migrations not applied to the database 'default': ")
        assert "usage_tracking" in last[-2]
        assert last[-1] == "     Fix: python manage.py migrate"

    def test_site_that_is_not_migrated(self, demo, empty_database_url):
        ended = manage("diagnose_ai_usage", env={**demo, "DATABASE_URL": empty_database_url})

        assert ended.code == 2, ended
        assert ended.err == "CommandError: 1 problem found.\n"
        assert (
            "  ❌ The database 'default' has no table ai_usage_log and no table ai_usage_tracking\n"
            "     Fix: python manage.py migrate usage_tracking\n"
        ) in ended.out

    def test_migrations_are_missing(self, healthy):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'usage_tracking'")

        assert [(code, fix) for code, _, fix in problems()] == [
            ("migrations", "python manage.py migrate usage_tracking")
        ]

    def test_database_is_down(self, tmp_path):
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": 1,
            "NAME": "site",
        }
        env = make_site(tmp_path, f"DATABASES = {{'default': {database!r}}}")

        ended = manage("diagnose_ai_usage", env=env, directory=tmp_path)

        assert ended.code == 2, ended
        assert "  ❌ The database 'default' does not answer: OperationalError: " in ended.out
        assert ended.err == "CommandError: 1 problem found.\n"

    def test_bad_argument(self, demo):
        ended = manage("diagnose_ai_usage", "--hours", "0", env=demo)

        assert ended.code == 2, ended
        assert "argument --hours: " in ended.err

    def test_other_database(self, tmp_path):
        databases = {
            alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / alias)}
            for alias in ("default", "other")
        }
        env = make_site(tmp_path, f"DATABASES = {databases!r}")
        assert manage("migrate", "--database", "other", "-v", "0", env=env, directory=tmp_path) == (
            0,
            "",
            "",
        )

        arguments = ("diagnose_ai_usage", "--skip-sdks", "--database", "other")
        ended = manage(*arguments, env=env, directory=tmp_path)

        assert ended.code == 1, ended
        assert (
            "  ❌ There is no active user for the test call\n"
            "     Fix: python manage.py createsuperuser --database other\n"
        ) in ended.out
        assert "  ✅ The daily rows match AIUsageLog\n" in ended.out


@contextlib.contextmanager
def _refusing(section: str) -> Iterator[None]:
    AIUsageLog.objects.filter(section=section).delete()
    refuse_section(section)
    try:
        yield
    finally:
        accept_section(section)


def _urls(*patterns: Any) -> Any:
    urls: Any = ModuleType("urls")
    urls.urlpatterns = list(patterns)
    return urls


def _hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Pretend that `package` is not installed."""
    found = site.find_spec
    monkeypatch.setattr(site, "find_spec", lambda name: None if name == package else found(name))
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
