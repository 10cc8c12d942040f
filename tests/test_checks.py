"""System checks, called as functions and through `manage.py check`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connection
from django.test import override_settings

from tests.support.children import run_python
from tests.support.commands import run_command
from usage_tracking import checks, conf, outbox, places
from usage_tracking.middleware import AIUsageMiddleware

AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
OURS = "usage_tracking.middleware.AIUsageMiddleware"


class SubclassedMiddleware(AIUsageMiddleware):
    pass


def shown(messages: list[CheckMessage]) -> list[tuple[str, str, str | None]]:
    return [
        (str(message.id).removeprefix("usage_tracking."), message.msg, message.hint)
        for message in messages
    ]


def changed(**settings: Any) -> override_settings:
    """Override our settings; the names are without prefix."""
    return override_settings(**{f"AI_USAGE_{name}": value for name, value in settings.items()})


@pytest.mark.django_db
def test_settings_of_the_tests_are_valid():
    assert run_command("check") == (0, "System check identified no issues (0 silenced).\n", "")


SETTINGS: list[tuple[dict[str, Any], tuple[str, str, str | None]]] = [
    (
        {"SECTONS": {}},
        (
            "W001",
            "AI_USAGE_SECTONS is not a setting of usage_tracking.",
            "Did you mean AI_USAGE_SECTIONS?",
        ),
    ),
    (
        {"DAY_TIME_ZONE": "UTC"},
        (
            "W001",
            "AI_USAGE_DAY_TIME_ZONE is not a setting of usage_tracking.",
            "Did you mean AI_USAGE_DAY_TIMEZONE?",
        ),
    ),
    ({"XYZZY": 1}, ("W001", "AI_USAGE_XYZZY is not a setting of usage_tracking.", "Remove it.")),
    (
        {"ENABLED": "yes"},
        ("E001", "AI_USAGE_ENABLED must be of type bool, not 'yes'.", None),
    ),
    (
        {"OUTBOX": 7},
        ("E001", "AI_USAGE_OUTBOX must be of type str or Path or None, not 7.", None),
    ),
    (
        {"SECTIONS": "chat"},
        ("E001", "AI_USAGE_SECTIONS must be of type dict or list or tuple, not 'chat'.", None),
    ),
    (
        {"SECTION_MAP": [("a", "b")]},
        ("E001", "AI_USAGE_SECTION_MAP must be of type dict, not [('a', 'b')].", None),
    ),
    (
        {"SECTIONS": [("chat", "Chat", "too much"), "other"]},
        (
            "E002",
            "AI_USAGE_SECTIONS must be a dict of code to label, or a list of (code, label).",
            None,
        ),
    ),
    (
        {"SECTIONS": [7]},
        (
            "E002",
            "AI_USAGE_SECTIONS must be a dict of code to label, or a list of (code, label).",
            None,
        ),
    ),
    (
        {"SECTIONS": {"": "Nothing", "other": "Other"}},
        ("E003", "The section code '' in AI_USAGE_SECTIONS must have 1 to 50 characters.", None),
    ),
    (
        {"SECTIONS": {"x" * 51: "Long", "other": "Other"}},
        (
            "E003",
            f"The section code '{'x' * 51}' in AI_USAGE_SECTIONS must have 1 to 50 characters.",
            None,
        ),
    ),
    (
        {"DAY_TIMEZONE": "Europe/Belrin"},
        (
            "E004",
            "AI_USAGE_DAY_TIMEZONE: 'No time zone found with key Europe/Belrin'",
            None,
        ),
    ),
    (
        {"GATEWAYS": {"https://llm.example.com": "openai"}},
        (
            "E005",
            "AI_USAGE_GATEWAYS must map host[:port][/prefix], without a scheme, to the name of a "
            "provider, not 'https://llm.example.com' to 'openai'.",
            'For example {"llm.example.com/openai": "openai"}.',
        ),
    ),
    (
        {"GATEWAYS": {"llm.example.com": None}},
        (
            "E005",
            "AI_USAGE_GATEWAYS must map host[:port][/prefix], without a scheme, to the name of a "
            "provider, not 'llm.example.com' to None.",
            'For example {"llm.example.com/openai": "openai"}.',
        ),
    ),
    (
        {"PRICES": {"gpt-4o": {"inptu": 1}}},
        (
            "E006",
            "AI_USAGE_PRICES['gpt-4o'] has the unknown unit 'inptu'; did you mean \"input\"?",
            "See docs/prices.md#your-own-prices.",
        ),
    ),
    (
        {"PRICES": {"gpt-4o": 5}},
        (
            "E006",
            "AI_USAGE_PRICES['gpt-4o'] must be a dictionary or a list of them, not 5.",
            "See docs/prices.md#your-own-prices.",
        ),
    ),
    (
        {"BILLING": "sk-admin-1"},
        ("E001", "AI_USAGE_BILLING must be of type dict, not str.", None),
    ),
    (
        {"BILLING": {"bedrock": {"regions": ["eu-central-1"]}}},
        (
            "E016",
            "AI_USAGE_BILLING has an unknown provider, 'bedrock'. Did you mean 'aws'?",
            "See docs/settings.md#bills.",
        ),
    ),
    (
        {"KEY_HINT": "yes"},
        ("E001", "AI_USAGE_KEY_HINT must be of type bool, not 'yes'.", None),
    ),
    (
        {"DEFAULT_SECTION": "chatt"},
        (
            "W006",
            "AI_USAGE_DEFAULT_SECTION must be in AI_USAGE_SECTIONS, not 'chatt'.",
            "Did you mean 'chat'?",
        ),
    ),
    (
        {"SECTION_MAP": {"shop:page": "xyzzy"}},
        (
            "W006",
            "AI_USAGE_SECTION_MAP['shop:page'] must be in AI_USAGE_SECTIONS, not 'xyzzy'.",
            "Add it there.",
        ),
    ),
    (
        {"CAPTURE": ["htpx"]},
        (
            "W007",
            "AI_USAGE_CAPTURE has 'htpx', which is not a transport.",
            "Did you mean 'httpx'?",
        ),
    ),
    (
        {"SCANNER_EXTRA": ["missing.toml"]},
        (
            "E012",
            "AI_USAGE_SCANNER_EXTRA: missing.toml is neither a file nor a directory.",
            "See docs/scanner.md for the format of the file.",
        ),
    ),
    (
        {"SCANNER_TRACKERS": ["billing.bill_tokens"]},
        (
            "E013",
            "AI_USAGE_SCANNER_TRACKERS has 'billing.bill_tokens', which is not a valid "
            "function name.",
            'Omit the module, for example "bill_tokens".',
        ),
    ),
]


class TestSettings:
    @pytest.mark.django_db
    def test_invalid_setting_is_reported_with_its_value(self, subtests):
        for changes, message in SETTINGS:
            with subtests.test(str(changes)), changed(**changes):
                assert shown(checks.check_settings()) == [message]
                ended = run_command("check")

                code, text, hint = message
                line = f"?: (usage_tracking.{code}) {text}\n"
                if hint:
                    line += f"\tHINT: {hint}\n"
                is_error = code.startswith("E")
                assert ended == (
                    1 if is_error else 0,
                    "",
                    f"{'SystemCheckError: ' if is_error else ''}"
                    "System check identified some issues:\n\n"
                    f"{'ERRORS' if is_error else 'WARNINGS'}:\n{line}\n"
                    "System check identified 1 issue (0 silenced).\n",
                )

    def test_invalid_wait_is_an_error(self, subtests):
        for seconds in (-0.1, 61, float("nan"), float("inf"), True):
            with subtests.test(repr(seconds)), changed(WAIT=seconds):
                assert shown(checks.check_settings()) == [
                    (
                        "E015",
                        f"AI_USAGE_WAIT must be from 0 to 60 seconds, not {seconds!r}.",
                        "AI_USAGE_WAIT = 0.25",
                    )
                ]
        for seconds in (0, 0.25, 1, 60):
            with subtests.test(repr(seconds)), changed(WAIT=seconds):
                assert shown(checks.check_settings()) == []

    def test_invalid_rate_is_an_error(self, subtests):
        for rate in ("cheap", None, -1, float("nan"), float("inf"), True, [1]):
            with subtests.test(repr(rate)), changed(PRICES={"gpt-4o": {"input": rate}}):
                assert [code for code, _, _ in shown(checks.check_settings())] == ["E006"]

    def test_valid_rate(self, subtests):
        for rate in (0, 2, 2.5, "2.5"):
            with subtests.test(repr(rate)), changed(PRICES={"gpt-4o": {"input": rate}}):
                assert shown(checks.check_settings()) == []

    def test_unknown_transport_lists_the_choices(self, settings):
        settings.AI_USAGE_CAPTURE = ["carrier pigeon"]

        ((_, _, hint),) = shown(checks.check_settings())

        assert hint is not None
        assert hint.startswith("Choose from httpx, httpx2, requests")

    def test_valid_settings(self, subtests):
        prices = {"input": 1, "output": 2, "cache_read": 0, "cache_write": 3}
        right: list[dict[str, Any]] = [
            {"ENABLED": False},
            {"SECTIONS": {"other": "Other"}},
            {"SECTIONS": ["other", ("chat", "Chat")]},
            {"SECTION_MAP": {"shop": "chat"}},
            {"CAPTURE": False},
            {"CAPTURE": ["httpx", "requests"]},
            {"GATEWAYS": {"llm.example.com:8000/v1": "openai"}},
            {"OUTBOX": None},
            {"OUTBOX": Path("/srv/outbox")},
            {"OUTBOX": "/srv/outbox"},
            {"DAY_TIMEZONE": "Europe/Berlin"},
            {"PRICES": {"gpt-4o": prices}},
            {"BILLING": {"openai": {"key": "sk-admin-1"}}},
            {"KEY_HINT": True},
        ]
        for changes in right:
            with subtests.test(str(changes)), changed(**changes):
                assert shown(checks.check_settings()) == []

    def test_every_invalid_setting_is_reported(self):
        with override_settings(
            AI_USAGE_SECTIONS=7,
            AI_USAGE_PRICES=7,
            AI_USAGE_GATEWAYS=7,
            AI_USAGE_CAPTURE=7,
            AI_USAGE_DAY_TIMEZONE=7,
            AI_USAGE_XYZZY=7,
        ):
            assert [code for code, _, _ in shown(checks.check_settings())] == [
                "E001",
                "E001",
                "E001",
                "E001",
                "E001",
                "W001",
            ]

    def test_every_documented_setting_has_a_type(self):
        assert set(conf.SETTINGS) >= {
            "ENABLED",
            "SECTIONS",
            "DEFAULT_SECTION",
            "SECTION_MAP",
            "CAPTURE",
            "GATEWAYS",
            "UNKNOWN_HOSTS",
            "OUTBOX",
            "DAY_TIMEZONE",
            "PRICES",
            "PROPAGATE_THREADS",
            "LOG_USERNAMES",
            "RAISE_ERRORS",
            "BILLING",
            "KEY_HINT",
        }


class TestMiddleware:
    def test_right_order(self, subtests):
        for middleware in (
            [AUTHENTICATION, OURS],
            [OURS],
            [AUTHENTICATION, f"{__name__}.SubclassedMiddleware"],
            ["no.such.Middleware", AUTHENTICATION, OURS],
        ):
            with subtests.test(str(middleware)), override_settings(MIDDLEWARE=middleware):
                assert shown(checks.check_middleware()) == []

    def test_missing_middleware(self):
        with override_settings(MIDDLEWARE=[AUTHENTICATION]):
            assert shown(checks.check_middleware()) == [
                (
                    "W002",
                    "AIUsageMiddleware is not in MIDDLEWARE: AI calls made in requests "
                    "have no user.",
                    f'Add "{OURS}" after the authentication middleware.',
                )
            ]

    def test_wrong_order(self):
        with override_settings(MIDDLEWARE=["no.such.Middleware", OURS, AUTHENTICATION]):
            assert shown(checks.check_middleware()) == [
                (
                    "W003",
                    "AIUsageMiddleware is at position 1 of MIDDLEWARE, before "
                    "AuthenticationMiddleware at position 2.",
                    f'Move "{OURS}" after it.',
                )
            ]

    def test_disabled_site_is_not_checked(self):
        with override_settings(MIDDLEWARE=[], AI_USAGE_ENABLED=False):
            assert shown(checks.check_middleware()) == []

    @pytest.mark.django_db
    def test_check_command_reports_it(self):
        left = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            AUTHENTICATION,
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        with override_settings(MIDDLEWARE=left):
            ended = run_command("check")

        assert ended.code == 0
        assert "?: (usage_tracking.W002) AIUsageMiddleware is not in MIDDLEWARE" in ended.err


class TestDatabase:
    def test_database_of_the_tests(self):
        assert shown(checks.check_database(databases=["default"])) == []
        assert shown(checks.check_database()) == []

    @pytest.mark.sqlite
    def test_old_sqlite(self, monkeypatch):
        monkeypatch.setattr(sqlite3.dbapi2, "sqlite_version_info", (3, 34, 1))
        monkeypatch.setattr(sqlite3.dbapi2, "sqlite_version", "3.34.1")
        assert connection.vendor == "sqlite"

        assert shown(checks.check_database(databases=["default"])) == [
            ("E011", "SQLite must be 3.35 or later, not 3.34.1.", None)
        ]
        assert shown(checks.check_database(databases=["other"])) == []

    @pytest.mark.process
    def test_check_command_reports_another_vendor(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            from django.core.management import call_command, CommandError
            try:
                call_command("check", databases=["default"])
            except CommandError as error:
                print(error)
            """,
            settings='DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}',
        )

        assert (
            "?: (usage_tracking.E010) The database 'default' must be PostgreSQL or SQLite, not "
            "unknown."
        ) in printed


class TestOutbox:
    @pytest.fixture(autouse=True)
    def _not_inline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox, "inline", lambda: False)

    def test_writable_directory(self, tmp_path, subtests):
        for directory in (".", "new", "new/and/deep"):
            with subtests.test(directory), changed(OUTBOX=tmp_path / directory):
                assert shown(checks.check_outbox()) == []
                assert list(tmp_path.iterdir()) == []

    def test_missing_directory(self, settings):
        del settings.BASE_DIR

        assert shown(checks.check_outbox()) == [
            (
                "W004",
                "Neither AI_USAGE_OUTBOX nor BASE_DIR is set: events are lost if their "
                "process dies.",
                "Set AI_USAGE_OUTBOX to a directory that the site can write.",
            )
        ]

    def test_unwritable_directory(self, tmp_path, subtests):
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with subtests.test(path.name), changed(OUTBOX=path):
                assert shown(checks.check_outbox()) == [
                    (
                        "W005",
                        f"The outbox {path} cannot be written: events are lost if their "
                        "process dies.",
                        "Set AI_USAGE_OUTBOX to a directory that the site can write.",
                    )
                ]

    def test_relative_directory(self, settings, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        settings.AI_USAGE_OUTBOX = "outbox"

        assert shown(checks.check_outbox()) == [
            (
                "W008",
                "AI_USAGE_OUTBOX must be an absolute path, not 'outbox': a server, a worker and a "
                "command with different working directories use different outboxes.",
                "AI_USAGE_OUTBOX = BASE_DIR / 'outbox'",
            )
        ]

    def test_disabled_site_is_not_checked(self, settings):
        del settings.BASE_DIR
        settings.AI_USAGE_ENABLED = False

        assert shown(checks.check_outbox()) == []

    def test_directory_that_is_writable_by_everyone(self, tmp_path):
        (directory := tmp_path / "outbox").mkdir()
        directory.chmod(0o777)

        with changed(OUTBOX=directory):
            assert shown(checks.check_outbox()) == [
                (
                    "W009",
                    f"The outbox {directory} is not read: every system user may write into "
                    f"{directory}.",
                    f"chmod 700 {directory}, and chown it to the system user of the site.",
                )
            ]

    def test_inline_site_needs_no_directory(self, settings, monkeypatch):
        monkeypatch.undo()
        del settings.BASE_DIR

        assert shown(checks.check_outbox()) == []

    @pytest.mark.django_db
    def test_check_command_reports_it(self, settings, tmp_path):
        (tmp_path / "file").touch()
        settings.AI_USAGE_OUTBOX = tmp_path / "file"

        assert "?: (usage_tracking.W005) The outbox " in run_command("check").err


USER_APPS = ["django.contrib.auth", "usage_tracking"]


@pytest.mark.parametrize(
    ("tenant_apps", "refused"),
    [
        (USER_APPS, False),
        (["django.contrib.contenttypes"], False),
        (["usage_tracking"], False),
        (["django.contrib.auth"], True),
        (["django.contrib.auth.apps.AuthConfig"], True),
        (["django.contrib.auth", "usage_tracking.apps.UsageTrackingConfig"], False),
    ],
)
@pytest.mark.parametrize("kind", ["django_tenants", "types of django_tenants", "pgschemas"])
def test_tenants_with_users_need_usage(settings, monkeypatch, kind, tenant_apps, refused):
    engine = {"pgschemas": "django_pgschemas.postgresql"}
    databases = {"default": {"ENGINE": engine.get(kind, "django_tenants.postgresql_backend")}}
    monkeypatch.setattr(checks.installation, "connections", SimpleNamespace(settings=databases))
    if kind == "django_tenants":
        settings.TENANT_APPS = tenant_apps
    elif kind == "pgschemas":
        settings.TENANTS = {"public": {"APPS": USER_APPS}, "default": {"APPS": tenant_apps}}
    else:
        settings.TENANT_TYPES = {"public": {"APPS": USER_APPS}, "shop": {"APPS": tenant_apps}}

    found = checks.check_tenants()
    monkeypatch.setattr(places, "users_are_apart", lambda: True)
    apart = checks.check_tenants()

    has_users = any("auth" in name for name in tenant_apps)
    assert [message.id for message in apart] == ["usage_tracking.E014"] * has_users
    assert [message.id for message in found] == ["usage_tracking.E014"] * refused
    for message in found:
        assert "Add 'usage_tracking' to TENANT" in str(message.hint)


def test_site_without_tenants():
    assert checks.check_tenants() == []
