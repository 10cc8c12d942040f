"""`manage.py demo` as a newcomer runs it, and the comparisons that its proof is made of."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from project.chat.demo import proof, record, report
from project.chat.demo.launch import child_environment
from project.chat.demo.record import Sums
from project.chat.demo.visits import VISITS, Visit, Visited
from project.stub import Served
from tests.support.waiting import PATIENCE, awaiting_output, finish, run
from usage_tracking.models import AIUsageLog

ROOT = Path(__file__).parents[2]
PROOF = re.compile(
    r"✅ (\d+) provider requests served, \1 rows recorded, "
    r"tokens [\d,]+ \+ [\d,]+ equal what the provider counted"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a newcomer's shell has, with all that the demo writes in a temporary directory."""
    strange = {"AI_PROVIDER_URL", "ATOMIC_REQUESTS", "DEBUG", "SECRET_KEY", "NO_COLOR"}
    return {
        **{name: value for name, value in os.environ.items() if name not in strange},
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/demo.sqlite3",
        "AI_USAGE_OUTBOX": f"{tmp_path}/outbox",
        "LOG_FILE": f"{tmp_path}/demo.log",
    }


@pytest.fixture
def demo(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run_demo(**changes: str) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "manage.py", "demo"], cwd=ROOT, env=environment | changes)

    return run_demo


@pytest.mark.process
@pytest.mark.costly
def test_demo_proves_that_all_is_recorded_again_and_again(demo, tmp_path):
    for _ in range(2):
        ended = demo()

        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stderr == ""
        assert PROOF.search(ended.stdout)
        assert "❌" not in ended.stdout
        for word in ("alice", "bob", "carol", "product_recommendation", "gemini-2.5-flash"):
            assert word in ended.stdout
        assert "[TRACK_COMPLETE]" in ended.stdout
        assert "[TRACK_COMPLETE]" in (tmp_path / "demo.log").read_text(encoding="utf-8")

    with closing(sqlite3.connect(tmp_path / "demo.sqlite3")) as database, database:
        names = {name for (name,) in database.execute("SELECT username FROM auth_user")}
        assert names == {"alice", "bob", "carol"}
        database.execute("UPDATE auth_user SET email = 'alice@example.com' WHERE username='alice'")
    ended = demo()

    assert ended.returncode == 1
    assert "already has a user 'alice' that the demo did not create" in ended.stderr


@pytest.mark.costly
@pytest.mark.postgres
def test_demo_proves_it_on_postgres(demo, database_url):
    ended = demo(DATABASE_URL=database_url)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert PROOF.search(ended.stdout)


@pytest.mark.process
@pytest.mark.costly
@pytest.mark.parametrize("how_it_ends", [signal.SIGINT, signal.SIGTERM])
def test_demo_that_serves_is_usable_and_ends_cleanly(environment, how_it_ends):
    with served_demo(environment) as (process, url, printed):
        with httpx.Client(base_url=url, follow_redirects=True, timeout=PATIENCE) as browser:
            chat = log_in(browser, "/", "bob")
            assert "Hello bob!" in chat.text
            assert browser.get("/static/chat/chat.js").status_code == 200
            assert browser.get("/healthz").json() == {"status": "ok", "database": "ok"}
            with ask(browser, "Is it warm?") as answer:
                assert "Is it warm" in answer.read().decode()
            # The whole of this answer would take longer than we wait for its first words.
            with ask(browser, f"Is it slow? [stub words=1000 pace={PATIENCE / 60}]") as answer:
                assert next(answer.iter_text())
            assert "Your AI usage in" in browser.get("/usage/").text
        with httpx.Client(base_url=url, follow_redirects=True, timeout=PATIENCE) as browser:
            admin = log_in(browser, "/admin/", "admin")
            assert "Site administration" in admin.text
        (command,) = re.findall(r"curl .*", printed)
        shell = ["sh", "-c", f"{command} -sS --fail-with-body"]
        asked = run(shell, cwd=ROOT, env=environment)
        assert (asked.returncode, asked.stderr) == (0, ""), asked.stdout
        names = {line["user__username"] for line in json.loads(asked.stdout)["top_users"]}
        assert names == {"alice", "bob", "carol"}
        # As the terminal does on Ctrl-C: both processes are told.
        os.killpg(process.pid, how_it_ends)
        rest, _ = finish(process)

    assert process.returncode == 0, rest
    assert rest.endswith("The demo has ended.\n")


@contextmanager
def served_demo(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    command = [sys.executable, "manage.py", "demo", "--serve"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            url, seen = "", []
            with awaiting_output(process):
                while line := process.stdout.readline():
                    seen.append(line)
                    if found := re.search(r"(http://127\.0\.0\.1:\d+)/chat/", line):
                        url = found[1]
                    if "Press Ctrl-C" in line:
                        break
            assert url, "".join(seen)
            yield process, url, "".join(seen)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                print(*seen, process.communicate()[0])


def ask(browser: httpx.Client, question: str) -> AbstractContextManager[httpx.Response]:
    return browser.stream(
        "POST",
        "/chat/answer/",
        data={"question": question},
        headers={"X-CSRFToken": browser.cookies["csrftoken"]},
    )


def log_in(browser: httpx.Client, path: str, name: str) -> httpx.Response:
    page = browser.get(path)
    form = {
        "username": name,
        "password": name,
        "next": path,
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    return browser.post(page.url, data=form, headers={"Referer": str(page.url)})


class TestLaunch:
    def test_child_asks_no_real_provider(self, tmp_path):
        given = {"OPENAI_BASE_URL": "https://api.openai.com/v1", "PATH": "/bin", "no_proxy": "x"}
        environment = child_environment(given, tmp_path, "http://127.0.0.1:1")

        assert "OPENAI_BASE_URL" not in environment
        assert environment["PATH"] == "/bin"
        assert environment["AI_PROVIDER_URL"] == "http://127.0.0.1:1"
        assert environment["DATABASE_URL"] == f"sqlite:///{tmp_path}/demo.sqlite3"
        assert environment["NO_PROXY"] == "127.0.0.1,localhost,x"

    def test_child_keeps_the_database_it_is_given(self, tmp_path):
        environment = child_environment({"DATABASE_URL": "given"}, tmp_path, "http://127.0.0.1:1")

        assert environment["DATABASE_URL"] == "given"


class TestVisits:
    def test_visits_are_told_apart_by_their_questions(self):
        for visit in VISITS:
            assert [other for other in VISITS if visit.question in other.question] == [visit]

    def test_visits_of_one_user_come_together(self):
        users = [visit.user for visit in VISITS]

        assert sorted(users) == users


class TestProof:
    visit = Visit("alice", "summary", "What now?", "session_memory")

    def served(self, **changes: Any) -> Served:
        values: dict[str, Any] = {
            "number": 1,
            "path": "/",
            "provider": "openai",
            "operation": "chat",
            "model": "gpt-4o-2024-08-06",
            "requested_model": "gpt-4o",
            "response_id": "chatcmpl-1",
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "cached_tokens": None,
            "cache_write_tokens": None,
            "reasoning_tokens": None,
            "streamed": False,
            "status": 200,
            "prompt": "Be brief.\nWhat now?",
            "body": b"",
            "completed": True,
        }
        return Served(**{**values, **changes})

    def log(self, **changes: Any) -> AIUsageLog:
        values: dict[str, Any] = {
            "user": User(pk=1, username="alice"),
            "section": "session_memory",
            "provider": "openai",
            "model_name": "gpt-4o-2024-08-06",
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "success": True,
            "metadata": {"response_id": "chatcmpl-1"},
            "day": date(2026, 1, 2),
        }
        return AIUsageLog(**{**values, **changes})

    def test_equal_calls_hold(self):
        finding = proof.compare_calls([self.served()], [self.log()], [self.visit])

        assert finding.holds
        assert PROOF.fullmatch(f"✅ {finding.text}")

    @pytest.mark.parametrize(
        "changes",
        [
            {"user": None},
            {"section": "chat"},
            {"provider": "google"},
            {"model_name": "gpt-4o"},
            {"prompt_tokens": 11},
            {"completion_tokens": None},
            {"success": False},
        ],
    )
    def test_different_calls_do_not_hold(self, changes):
        finding = proof.compare_calls([self.served()], [self.log(**changes)], [self.visit])

        assert not finding.holds
        assert [difference.split(":")[0] for difference in finding.differences] == [
            "served but not recorded",
            "recorded but not served",
        ]

    def test_call_recorded_twice_does_not_hold(self):
        finding = proof.compare_calls([self.served()], [self.log()] * 2, [self.visit])

        assert len(finding.differences) == 1

    def test_call_without_a_visit_does_not_hold(self):
        assert not proof.compare_calls([self.served(prompt="?")], [self.log()], [self.visit]).holds

    def test_failed_call_has_the_requested_model(self):
        served = self.served(status=500, model="", prompt_tokens=None, completion_tokens=None)
        log = self.log(
            success=False, model_name="gpt-4o", prompt_tokens=None, completion_tokens=None
        )

        assert proof.compare_calls([served], [log], [self.visit]).holds

    def test_response_ids_are_looked_for_in_the_metadata(self):
        assert proof.compare_response_ids([self.served()], [self.log()]).holds
        assert not proof.compare_response_ids([self.served()], [self.log(metadata={})]).holds
        assert proof.compare_response_ids([self.served(response_id="")], []).holds

    def test_days_are_compared_with_the_sums_of_the_logs(self):
        logs = [self.log(), self.log(success=False, prompt_tokens=None), self.log(user=None)]
        summed = record.sums_of_logs(logs)

        assert summed == {(1, date(2026, 1, 2)): Sums(2, 1, 10, 6)}
        assert proof.compare_days(summed, summed).holds
        assert not proof.compare_days({}, summed).holds
        assert not proof.compare_days(summed, {}).holds

    def test_days_grow_by_their_differences(self):
        key, other = (1, date(2026, 1, 2)), (2, date(2026, 1, 2))
        before = {key: Sums(1, 0, 5, 5), other: Sums(4, 1, 2, 3)}
        after = {key: Sums(3, 1, 6, 7), other: Sums(4, 1, 2, 3)}

        assert record.grown(before, after) == {key: Sums(2, 1, 1, 2)}

    def test_answers_must_be_those_that_were_expected(self):
        assert proof.compare_answers([Visited(self.visit, 200, 0.1)]).holds
        assert not proof.compare_answers([Visited(self.visit, 500, 0.1)]).holds

    @pytest.mark.django_db
    def test_rollbacks_must_leave_the_rows_alone(self):
        visit = Visit("carol", "campaign", "Words", "marketing_workflow", 500)
        log = self.log(section="marketing_workflow")

        assert proof.compare_rollbacks([log], [visit]).holds
        assert not proof.compare_rollbacks([], [visit]).holds
        User.objects.create(username="carol", last_name="Campaigner")
        assert not proof.compare_rollbacks([log], [visit]).holds

    def test_findings_are_listed_with_some_of_their_differences(self):
        good = proof.Finding("good")
        bad = proof.Finding("bad", tuple(f"difference {number}" for number in range(30)))
        lines = list(report.finding_lines([good, bad]))

        assert lines[:3] == ["✅ good", "❌ bad", "   · difference 0"]
        assert lines[-1] == "   · and 10 more"
        assert len(lines) == 23


class TestRecord:
    def test_wait_until_ends_when_it_is_done_or_time_is_up(self):
        answers = iter([False, True])

        assert record.wait_until(lambda: next(answers), timeout=PATIENCE)
        assert not record.wait_until(lambda: False, timeout=0)


class TestReport:
    def test_sample_is_the_first_line_with_the_words_from_the_first_word_on(self, tmp_path):
        log = tmp_path / "demo.log"
        assert report.sample_log_line(log, "[X]", "alice") == ""
        log.write_text("alice\n12:00 INFO [X] bob\n12:01 INFO [X] alice\n[X] alice 2\n", "utf-8")

        assert report.sample_log_line(log, "[X]", "alice") == "[X] alice"
        assert report.sample_log_line(log, "[X]", "carol") == ""
