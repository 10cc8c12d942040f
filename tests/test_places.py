"""Which database and which schema a call belongs to."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from usage_tracking import places
from usage_tracking.attribution.resolve import attribution
from usage_tracking.attribution.scope import Scope, Unit, enter, leave
from usage_tracking.places import NOWHERE, Place, here


def named(**settings: Any) -> str:
    return places._identity({"ENGINE": "django.db.backends.postgresql", "NAME": "shop"} | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"HOST": "localhost"},
        {"HOST": "127.0.0.1", "PORT": 5432},
        {"HOST": "::1", "PORT": "5432"},
        {"OPTIONS": {"host": "localhost"}},
        {"OPTIONS": {"options": "-c statement_timeout=5s"}},
        {"OPTIONS": None, "USER": "another", "PASSWORD": "another"},
        {"ENGINE": "django.contrib.gis.db.backends.postgis", "CONN_MAX_AGE": 60},
    ],
)
def test_one_database_has_one_name(settings):
    assert named(**settings) == named()


@pytest.mark.parametrize(
    "settings",
    [
        {"HOST": "db.example.com"},
        {"HOST": "/run/postgresql-16"},
        {"PORT": 5433},
        {"NAME": "another"},
        {"OPTIONS": {"service": "another"}},
        {"OPTIONS": {"options": "-c search_path=another"}},
        {"OPTIONS": {"options": "-csearch_path=another"}},
        {"OPTIONS": {"options": "--search_path=another"}},
        {"OPTIONS": {"options": "--search-path=another,public -c lock_timeout=1s"}},
        {"ENGINE": "django.db.backends.sqlite3"},
    ],
)
def test_other_databases_have_other_names(settings):
    assert named(**settings) != named()


def test_last_search_path_in_the_options_wins():
    by_two = named(OPTIONS={"options": "-c search_path=a -c search_path=b,public"})

    assert by_two == named(OPTIONS={"options": "-c 'search_path=b, public'"})


@given(st.text())
def test_any_options_have_a_name(options):
    assert named(OPTIONS={"options": options})


def test_file_of_sqlite_has_one_name(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    def of(path: Any) -> str:
        return places._identity({"ENGINE": "django.db.backends.sqlite3", "NAME": path})

    assert of(tmp_path / "db") == of(f"{tmp_path}/link/./link/db")
    assert of(tmp_path / "db") != of(tmp_path / "db2")


def test_no_password_is_in_the_name():
    assert "secret" not in named(USER="secret", PASSWORD="secret")


def test_site_without_tenants_has_one_place():
    assert here() == NOWHERE
    assert here(user=User(pk=1)) == NOWHERE
    assert places.alias_of("") == places.own() == "default"
    assert places.alias_of(places.identity("default")) == "default"
    assert places.alias_of(named(NAME="unknown")) is None


class Tenants:
    """A router for tenants with databases in the settings."""

    active: str | None = None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.active

    db_for_read = db_for_write


@pytest.fixture
def tenants(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Tenants:
    router = Tenants()
    for name in ("one", "two", "copy"):
        database = connections.settings["default"] | {"NAME": f"{name}.sqlite3", "TEST": {}}
        monkeypatch.setitem(connections.settings, name, database)
    connections.settings["copy"]["TEST"] = {"MIRROR": "one"}
    settings.DATABASE_ROUTERS = [router]
    places.note_own_databases()  # as while Django starts
    return router


@pytest.fixture
def unit() -> Unit:
    return Unit()


def place_of(alias: str) -> Place:
    return Place(places.identity(alias), "", places.identity(alias))


class TestRouted:
    def test_user_loaded_by_a_middleware_belongs_to_its_database(self, tenants, settings):
        """For example, `request.user = User.objects.using("one").get(...)` without a router."""
        settings.DATABASE_ROUTERS = []
        request = HttpRequest()
        scope = Scope(Unit(request))
        request.user = User(pk=7, username="ada")
        request.user._state.db = "one"
        enter(scope)
        try:
            seen = attribution()
        finally:
            leave(scope)

        assert (seen.place, seen.user and seen.user.id) == (place_of("one"), "7")

    def test_place_comes_from_the_router(self, tenants):
        tenants.active = "one"

        assert here() == place_of("one")
        assert places.alias_of(here().database) == "one"

    def test_router_that_requires_a_tenant_does_not_break_the_host(self, tenants, settings):
        def refuse(model: Any, **hints: Any) -> str:
            raise LookupError("no tenant is active")

        settings.AI_USAGE_RAISE_ERRORS = False
        tenants.db_for_write = refuse

        assert here() == NOWHERE
        assert places.own() == "default"

    def test_scope_keeps_its_place_in_a_thread_of_no_tenant(self, tenants, unit):
        tenants.active = "one"
        scope = Scope(unit, user=User(pk=7, username="ada"))
        tenants.active = None
        enter(scope)
        try:
            seen = attribution()
        finally:
            leave(scope)

        assert (seen.place, seen.user and seen.user.id) == (place_of("one"), "7")

    def test_user_of_one_tenant_is_unattributed_at_another(self, tenants, unit):
        tenants.active = "one"
        scope = Scope(unit, user=User(pk=7, username="ada"))
        tenants.active = "two"
        enter(scope)
        try:
            seen = attribution()
        finally:
            leave(scope)

        assert (seen.place, seen.user) == (place_of("two"), None)

    def test_user_of_a_tenant_is_not_in_a_shared_table(self, tenants, unit, monkeypatch):
        """For example, a router keeps all usage in one database."""
        monkeypatch.setattr(
            Tenants,
            "db_for_write",
            lambda self, model, **_: self.active if model is User else "default",
        )
        tenants.active = "one"
        scope = Scope(unit, user=User(pk=7, username="ada"))
        enter(scope)
        try:
            seen = attribution()
        finally:
            leave(scope)

        assert (seen.place.database, seen.user) == ("", None)

    @pytest.mark.parametrize("alias", ["one", "copy"])
    def test_user_belongs_to_the_database_it_is_loaded_from(self, tenants, settings, alias):
        settings.DATABASE_ROUTERS = []
        user = User(pk=7, username="ada")
        user._state.db = alias

        assert here(user=user) == place_of("one")


class Connection:
    """Like django-tenants' connection in a thread without a tenant."""

    schema_name, tenant = "public", None
    settings_dict: dict[str, Any] = {}

    def set_tenant(self, tenant: Any) -> None:
        self.tenant, self.schema_name = tenant, getattr(tenant, "schema_name", "public")

    def set_schema(self, name: str) -> None:
        self.set_tenant(SimpleNamespace(schema_name=name))


class Connections(dict[str, Any]):
    settings: dict[str, Any] = {"default": {}}


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = Connection()
    monkeypatch.setattr(places, "connections", Connections(default=made))
    monkeypatch.setattr(places, "_layouts", {})
    return made


def test_users_of_tenants_are_ambiguous_in_one_usage_database(monkeypatch, mine):
    usage = SimpleNamespace(settings_dict={"ENGINE": "django.db.backends.postgresql"})
    monkeypatch.setattr(places, "connections", Connections(default=mine, usage=usage))
    monkeypatch.setattr(places, "_own", ("usage", "default"))
    monkeypatch.setattr(places, "users_are_apart", lambda: True)
    mine.set_schema("shop")
    for is_own in (True, False):
        monkeypatch.setattr(places, "_layouts", {("default", "shop"): (is_own, is_own)})
        place = here()
        assert (place.schema, place.has_users, place.tenant) == ("", not is_own, "shop")
    mine.set_schema("public")
    assert here() == NOWHERE


def visitor(schema: str) -> Any:
    return SimpleNamespace(tenant=SimpleNamespace(schema_name=schema))


class TestEventLoop:
    """django-tenants sets the tenant on another thread's connection."""

    async def test_request_names_the_tenant(self, mine):
        assert here(visitor("one")) == Place("", "one", "", "one", "one")
        assert mine.schema_name == "public"
        assert here(visitor("public")) == NOWHERE
        assert here() == NOWHERE

    async def test_user_of_a_connection_without_a_tenant_is_unattributed(self, mine):
        """For example, the scope of a WebSocket has no tenant."""
        assert not here(SimpleNamespace(tenant=None)).has_users
        assert mine.schema_name == "public"

    async def test_user_shared_by_all_tenants_is_attributed(self, mine, monkeypatch):
        monkeypatch.setattr(places, "_layout", lambda *_: (False, False))

        assert here(SimpleNamespace(tenant=None)) == NOWHERE


def test_code_that_leaves_the_tenant_of_its_request_has_no_tenant(mine):
    """Synchronous code uses the connection of the request."""
    assert here(visitor("one")) == NOWHERE


class TestPgschemas:
    """The active schema of django-pgschemas is a ContextVar, which its backend follows."""

    @pytest.fixture(autouse=True)
    def active(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        entered = ["public"]

        class Schema:
            def __init__(self, name: str) -> None:
                self.schema_name = name

            create = classmethod(lambda cls, name: cls(name))

            def __enter__(self) -> None:
                entered.append(self.schema_name)

            def __exit__(self, *_: object) -> None:
                entered.pop()

        package = SimpleNamespace(Schema=Schema, get_current_schema=lambda: Schema(entered[-1]))
        monkeypatch.setitem(sys.modules, "django_pgschemas.schema", package)
        backend = SimpleNamespace(settings_dict={"ENGINE": "django_pgschemas.postgresql"})
        monkeypatch.setattr(places, "connections", Connections(default=backend))
        monkeypatch.setattr(places, "_layouts", {})
        return entered

    def test_place_is_the_active_schema(self, active):
        assert here() == NOWHERE
        with places.active("default", "one"):
            assert here() == Place("", "one", "", "one", "one")
            with places.active("default", ""):
                assert here() == NOWHERE
        assert active == ["public"]
        assert places.has_schemas("default")


def test_users_of_other_tenants_are_distinct(mine):
    mine.set_schema("one")
    assert places.shares_users("", "one")
    assert not places.shares_users("", "two")
    assert not places.shares_users("", "")
    mine.set_schema("public")
    assert places.shares_users("", "")
    assert not places.shares_users("", "two")
    assert not places.shares_users("another", "")


def test_users_that_tenants_share_are_the_same(mine, monkeypatch):
    monkeypatch.setattr(places, "_layout", lambda *_: (True, False))

    assert places.shares_users("", "two")
