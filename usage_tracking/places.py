"""Places: the database and the schema to which the rows of a call belong.

Most sites have one place. A site with tenants has one per tenant: a router that depends on the
thread gives each tenant a database, django-tenants and django-pgschemas give each a schema. The
place is read in the thread that makes the call, because the delivery thread belongs to no tenant.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model
from django.utils.functional import LazyObject

from .errors import contained

#: The backend that uses `django_pgschemas.schema.active`. The backends of django-tenants and its
#: predecessors have a method `set_schema`.
_PGSCHEMAS = "django_pgschemas.postgresql"
#: Hosts that mean this machine; "" is its socket.
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})
_POSTGRESQL_PORT = "5432"


class Place(NamedTuple):
    """A database and a schema; all fields are empty if there is no tenant."""

    #: The database as named by `identity`.
    database: str = ""
    #: The tenant's schema that holds the usage tables.
    schema: str = ""
    #: The same for the table of users.
    users_database: str = ""
    users_schema: str = ""
    #: The active schema of the tenant, regardless of its tables.
    tenant: str = ""

    @property
    def users(self) -> tuple[str, str]:
        """The place of the users: elsewhere a primary key belongs to another user."""
        return self.users_database, self.users_schema

    @property
    def has_users(self) -> bool:
        """Whether a row can refer to a user: a tenant's users need rows in the tenant's place."""
        return self.users_database in ("", self.database) and self.users_schema in ("", self.schema)

    @property
    def is_routed(self) -> bool:
        """Whether only the routers can find it, in the thread or context in which it was read."""
        return bool(self.database or self.users_database)


NOWHERE = Place()
#: The tenant on an event loop if it is unknown.
_UNKNOWN = "?"

_own: tuple[str, str] | None = None
#: By alias and database name, because tests rename the database.
_identities: dict[tuple[object, ...], str] = {}
#: By alias and tenant: whether the tenant has its own usage tables and its own users.
_layouts: dict[tuple[str, str], tuple[bool, bool]] = {}


def note_own_databases() -> None:
    """Note which databases belong to no tenant; call it while Django starts, outside requests."""
    global _own
    _own = _alias("usage_tracking.AIUsageLog"), _alias(settings.AUTH_USER_MODEL)


def _owned() -> tuple[str, str]:
    if _own is None:
        note_own_databases()
    return cast("tuple[str, str]", _own)


def own() -> str:
    """Return the alias of the database for calls that belong to no tenant."""
    return _owned()[0]


def own_users() -> str:
    """Return the alias of the database for users that belong to no tenant."""
    return _owned()[1]


def users_are_apart() -> bool:
    """Return whether the users are in another database than the calls that belong to no tenant."""
    return has_many() and identity(own()) != identity(own_users())


def users_of(using: str) -> str:
    """Return the alias of the database with the users of the logs in `using`."""
    return own_users() if users_are_apart() else using


def _alias(model: str) -> str:
    try:
        return router.db_for_write(apps.get_model(model))
    except Exception:  # noqa: BLE001 -- a router that requires a tenant: there is none yet
        return DEFAULT_DB_ALIAS


def here(request: Any = None, *, user: Any = None) -> Place:
    """Return the current place of this thread, without a query.

    If `user` was loaded from another database, that database decides, like in Django for rows that
    refer to the user. On an event loop the connections of Django's synchronous middleware are not
    accessible, so `request.tenant` decides. Without it, calls of a tenant's users are unattributed.
    """
    return _here(request, user) or NOWHERE


@contained
def _here(request: Any, user: Any) -> Place:
    alias, users_alias = _owned()
    database = users = ""
    if issubclass(type(user), LazyObject):
        user = user.__dict__.get("_wrapped")
    names_database = has_many() and issubclass(type(user), Model)
    hints = {"instance": user} if names_database else {}
    if router.routers or hints:
        if (routed := _primary(router.db_for_write(_log(), **hints))) != alias:
            database, alias = identity(routed), routed
        if (routed := _primary(router.db_for_write(get_user_model(), **hints))) != users_alias:
            users = identity(routed)
    tenant = _tenant(alias, request)
    if users_are_apart() and (theirs := _tenant(own_users(), request)):
        # All tenants share one table of calls; the users belong to the tenant or are shared.
        is_shared = (
            _shares_users(own_users())
            if theirs == _UNKNOWN
            else not _layout(own_users(), theirs, request)[1]
        )
        return Place(database, "", users, "" if is_shared else theirs, theirs)
    if tenant == _UNKNOWN:
        has_users = not _shares_users(alias)
        return Place(database, "", users, _UNKNOWN) if has_users else NOWHERE
    if tenant:
        has_logs, has_users = _layout(alias, tenant, request)
        of_logs, of_users = tenant if has_logs else "", tenant if has_users else ""
        return Place(database, of_logs, users, of_users, tenant)
    return Place(database, "", users) if database or users else NOWHERE


def has_many() -> bool:
    """Return whether the site has more than one database."""
    return len(connections.settings) > 1


def _primary(alias: str) -> str:
    """Return the database of which `alias` is a replica in its TEST settings, else `alias`."""
    return (connections.settings[alias].get("TEST") or {}).get("MIRROR") or alias


def _log() -> Any:
    return apps.get_model("usage_tracking", "AIUsageLog")


def _tenant(alias: str, request: Any) -> str:
    """Return the schema of the active tenant, "" for the schema that all tenants share."""
    connection: Any = connections[alias]
    if hasattr(connection, "set_schema"):
        name = connection.schema_name
        if _is_public(name) and request is not None and asyncio._get_running_loop() is not None:
            tenant = getattr(request, "tenant", None)
            name = _UNKNOWN if tenant is None else tenant.schema_name
    elif connection.settings_dict["ENGINE"] == _PGSCHEMAS:
        name = sys.modules["django_pgschemas.schema"].get_current_schema().schema_name
    else:
        return ""
    return "" if _is_public(name) else str(name)


def _shares_users(alias: str) -> bool:
    """Return whether all tenants share their users, determined with a dummy tenant."""
    try:
        with active(alias, _UNKNOWN):
            return not _layout(alias, _UNKNOWN, None)[1]
    except Exception:  # noqa: BLE001 -- depends on the type of the tenant
        return False


def _is_public(schema: str | None) -> bool:
    return not schema or schema == public()


def public() -> str:
    """Return the name of the schema that all tenants share."""
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))


def _layout(alias: str, tenant: str, request: Any) -> tuple[bool, bool]:
    """Return whether each tenant's schema has the usage tables, and whether it has users."""
    if (alias, tenant) not in _layouts:
        with ExitStack() as stack:
            connection: Any = connections[alias]
            if getattr(connection, "schema_name", tenant) != tenant:
                stack.enter_context(_switched(connection, request.tenant))
            _layouts[alias, tenant] = (
                router.allow_migrate_model(alias, _log()),
                router.allow_migrate_model(alias, get_user_model()),
            )
    return _layouts[alias, tenant]


def shares_users(database: str, schema: str) -> bool:
    """Return whether the users of an event with this place are those of the active tenant."""
    mine, alias = here(), alias_of(database)
    if database != mine.users_database or alias is None:
        return False
    if schema == mine.users_schema or mine.users_schema:
        return schema == mine.users_schema
    try:
        with active(alias, schema):
            return not _layout(alias, schema, None)[1]
    except Exception:  # noqa: BLE001 -- a deleted schema, or a tenant of unknown type
        return False


@contextmanager
def active(alias: str, tenant: str) -> Iterator[None]:
    """Activate `tenant` ("" for none) on this thread's connection `alias`."""
    connection: Any = connections[alias]
    if hasattr(connection, "set_schema"):
        with _switched(connection, tenant):
            yield
    elif connection.settings_dict["ENGINE"] == _PGSCHEMAS:
        with sys.modules["django_pgschemas.schema"].Schema.create(tenant or "public"):
            yield
    else:
        yield


@contextmanager
def _switched(connection: Any, tenant: Any) -> Iterator[None]:
    """Activate a tenant of django-tenants, given as an object or by its schema."""
    name = (tenant or public()) if isinstance(tenant, str) else tenant.schema_name
    if connection.schema_name == name:
        yield
        return
    before = connection.tenant
    if isinstance(tenant, str):
        connection.set_schema(name)
    else:
        connection.set_tenant(tenant)
    try:
        yield
    finally:
        connection.set_tenant(before)


def may_have_tenants() -> bool:
    """Return whether the site's calls may belong to several places."""
    return bool(router.routers) or has_schemas(own())


def has_schemas(alias: str) -> bool:
    """Return whether the tenants of a database have their own schemas."""
    connection: Any = connections[alias]
    return hasattr(connection, "set_schema") or connection.settings_dict["ENGINE"] == _PGSCHEMAS


def has_tables(alias: str, schema: str) -> bool:
    """Return whether `schema` ("" for the shared one) contains the usage tables."""
    connection: Any = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            [schema or public(), _log()._meta.db_table],
        )
        return cursor.fetchone() is not None


def identity(alias: str) -> str:
    """Return a name for the database of `alias` that is equal in every process and for every alias.

    All addresses of this machine count as one host, and an SQLite file has one path. A search path
    in OPTIONS is part of the name, because sites that share a database differ in it.
    """
    database = connections.settings[alias]
    key = alias, database.get("NAME"), database.get("HOST"), database.get("PORT")
    if key not in _identities:
        _identities[key] = _identity(database)
    return _identities[key]


def _identity(database: dict[str, Any]) -> str:
    engine, name = str(database.get("ENGINE", "")), str(database.get("NAME") or "")
    if "sqlite" in engine or "spatialite" in engine:
        is_file = name and not name.startswith((":memory:", "file:"))
        return json.dumps(["sqlite", os.path.realpath(name) if is_file else name])
    options = database.get("OPTIONS") or {}
    host = str(database.get("HOST") or options.get("host") or "")
    port = str(database.get("PORT") or options.get("port") or _POSTGRESQL_PORT)
    where = ["localhost" if host in _LOCAL else host, port, name]
    if service := options.get("service"):
        where.append(f"service={service}")
    if path := _search_path(str(options.get("options") or "")):
        where.append(f"search_path={path}")
    return json.dumps(["postgresql", *where])


def _search_path(options: str) -> str:
    """Return the search path in libpq's `options`, for example `-c search_path=a,b`.

    https://www.postgresql.org/docs/current/app-postgres.html
    """
    found = ""
    try:
        words = shlex.split(options)
    except ValueError:
        return options
    for word in words:
        name, _, value = word.removeprefix("-c").removeprefix("--").strip().partition("=")
        if name.replace("-", "_") == "search_path":
            found = value.replace(" ", "")
    return found


def alias_of(database: str) -> str | None:
    """Return an alias of the database with this `identity`, None if there is none.

    "" is the database of calls that belong to no tenant.
    """
    if not database or database == identity(own()):
        return own()
    # A site may add databases while it runs.
    return next((alias for alias in connections.settings if identity(alias) == database), None)


def _setting_changed(*, setting: str, **_: object) -> None:
    global _own
    if setting in {"DATABASES", "DATABASE_ROUTERS", "AUTH_USER_MODEL"}:
        _own = None
        _identities.clear()
        _layouts.clear()


setting_changed.connect(_setting_changed)
