from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import pytest
from django.core.management.commands import flush
from django.db import connection
from django.http import HttpResponse
from pytest_django import DjangoDbBlocker

from tests.databases import names_postgres
from usage_tracking.system.hosting import PLATFORMS

# Pytest rewrites asserts only in modules that are registered before their first import.
pytest.register_assert_rewrite("tests.support.comparison")

# Prevent the system checks from warning about the machine that runs the tests.
for _platform in PLATFORMS:
    os.environ.pop(_platform.variable, None)

with suppress(ModuleNotFoundError):  # the SDK sessions install neither
    import freezegun
    import hypothesis

    # freezegun reads every attribute of every module. Some of nox's attributes start a process, and
    # no test needs frozen time in the other libraries.
    freezegun.configure(  # type: ignore[no-untyped-call]
        extend_ignore_list=[
            *("nox", "anthropic", "openai", "openpyxl", "playwright", "anyio", "hypothesis"),
        ]
    )
    # Use the same examples in every run. `--hypothesis-profile=default` generates new ones.
    hypothesis.settings.load_profile("ci")

if django.VERSION < (5, 2):  # HttpResponse.text is new in 5.2
    text = property(lambda response: response.content.decode(response.charset))
    HttpResponse.text = text  # type: ignore[assignment, method-assign]


#: Tables whose rows no test changes.
_KEPT = {"auth_permission", "django_content_type"}


@pytest.fixture(scope="session", autouse=True)
def _flush_without_post_migrate() -> Iterator[None]:
    """Keep content types and permissions when tests that commit flush the database.

    Django flushes all tables after such a test and recreates these rows, which takes longer than
    most tests.
    """

    def sql_flush(style: Any, connection: Any, **options: bool) -> list[str]:
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        statements: list[str] = connection.ops.sql_flush(style, set(names) - _KEPT, **options)
        return statements

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *args: None)
        yield


#: Tests that do not depend on the database. They import SDKs, which is slow.
_WITHOUT_DATABASE = {
    Path(__file__).parent / name
    for name in (
        *("capture", "formats", "project/test_stub.py", "project/test_stub_billing.py"),
        "project/test_stub_formats.py",
    )
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = config.getoption("only_database_tests") and collection_path in _WITHOUT_DATABASE
    return True if left_out else None


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    database = config.getoption("database")
    for item in filter(_uses_database, items):
        item.add_marker("database")
    for item in items:
        for other in {"sqlite", "postgres"} - {database}:
            if item.get_closest_marker(other):
                item.add_marker(pytest.mark.skip(reason=f"about {other}; this run uses {database}"))
    if config.getoption("only_database_tests"):
        others = [item for item in items if not item.get_closest_marker("database")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("database")]


def _uses_database(item: pytest.Item) -> bool:
    if item.get_closest_marker("one_database"):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("django_db") is not None or not {
        "db",
        "transactional_db",
        "django_db_setup",
    }.isdisjoint(fixtures)


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """DATABASE_URL for a child process that uses the test's database."""
    return _url(connection.settings_dict["NAME"])


@pytest.fixture
def new_database_url(
    tmp_path: Path, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[], str]]:
    """Create databases without tables on the test server and return their DATABASE_URL."""
    with _databases(tmp_path, django_db_blocker) as make:
        yield make


@pytest.fixture(scope="module")
def new_database_url_of_module(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Callable[[], str]]:
    """Like `new_database_url`, for databases that the tests of a module share."""
    with _databases(tmp_path_factory.mktemp("databases"), django_db_blocker) as make:
        yield make


@contextmanager
def _databases(directory: Path, blocker: DjangoDbBlocker) -> Iterator[Callable[[], str]]:
    names: list[str] = []

    def execute(statement: str) -> None:
        with blocker.unblock():
            with connection.cursor() as cursor:
                cursor.execute(statement)
            connection.close()

    def make() -> str:
        names.append(f"empty_{uuid4().hex}")
        if connection.vendor == "sqlite":
            return _url(str(directory / f"{names[-1]}.sqlite3"))
        execute(f"CREATE DATABASE {names[-1]}")
        return _url(names[-1])

    yield make
    if connection.vendor != "sqlite":
        for name in names:
            execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(new_database_url: Callable[[], str]) -> str:
    """DATABASE_URL of a database without tables on the test server."""
    return new_database_url()


def _url(name: str) -> str:
    given = os.environ["DATABASE_URL"]
    if not names_postgres(given):
        return f"sqlite:///{name}"
    stem, question_mark, options = given.partition("?")
    return f"{stem.rpartition('/')[0]}/{name}{question_mark}{options}"
