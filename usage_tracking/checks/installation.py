"""Check how this app is installed: its middleware, database, outbox and tenants."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router
from django.utils.module_loading import import_string

from .. import conf, outbox, places
from ..models import AIUsageLog
from ..system import files, hosting

MIDDLEWARE = "usage_tracking.middleware.AIUsageMiddleware"


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Check that the middleware is installed, and after the one that sets the user."""
    if not conf.enabled():
        return []
    from django.contrib.auth.middleware import AuthenticationMiddleware

    from ..middleware import AIUsageMiddleware

    ours, authentication = map(_position, (AIUsageMiddleware, AuthenticationMiddleware))
    if ours is None:
        return [
            Warning(
                "AIUsageMiddleware is not in MIDDLEWARE: AI calls made in requests have no user.",
                hint=f'Add "{MIDDLEWARE}" after the authentication middleware.',
                id="usage_tracking.W002",
            )
        ]
    if authentication is not None and ours < authentication:
        return [
            Warning(
                f"AIUsageMiddleware is at position {ours} of MIDDLEWARE, before "
                f"AuthenticationMiddleware at position {authentication}.",
                hint=f'Move "{MIDDLEWARE}" after it.',
                id="usage_tracking.W003",
            )
        ]
    return []


def has_middleware() -> bool:
    """Return whether requests have a scope, and with it the section of their view."""
    from ..middleware import AIUsageMiddleware

    return _position(AIUsageMiddleware) is not None


def _position(wanted: type) -> int | None:
    """Return the last position of a middleware class, or a subclass, in MIDDLEWARE."""
    found = None
    for position, path in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(path)
        except ImportError:
            continue  # Django reports it at the start
        if isinstance(middleware, type) and issubclass(middleware, wanted):
            found = position
    return found


def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the database supports what delivery uses. Run by `check --database`."""
    alias = router.db_for_write(AIUsageLog)
    if databases is not None and alias not in databases:
        return []
    connection: Any = connections[alias]
    if connection.vendor not in {"postgresql", "sqlite"}:
        return [
            Error(
                f"The database {alias!r} must be PostgreSQL or SQLite, not {connection.vendor}.",
                id="usage_tracking.E010",
            )
        ]
    if connection.vendor == "sqlite" and connection.Database.sqlite_version_info < (3, 35):
        return [
            Error(
                f"SQLite must be 3.35 or later, not {connection.Database.sqlite_version}.",
                id="usage_tracking.E011",
            )
        ]
    return []


def check_outbox(**_: Any) -> list[CheckMessage]:
    """Check that events survive the end of a process, and the loss of its disk."""
    if not conf.enabled() or outbox.inline():
        return []
    directory = conf.outbox()
    return [*_check_directory(directory), *_check_platform(directory)]


def _check_platform(directory: Path | None) -> Iterator[CheckMessage]:
    if not conf.wait() and (risk := hosting.risk(directory)):
        yield Warning(
            f"Calls that are not in the database yet may be lost with their process: {risk}.",
            hint=hosting.REMEDY,
            id="usage_tracking.W010",
        )


def _check_directory(directory: Path | None) -> list[CheckMessage]:
    if directory is None:
        return [
            Warning(
                "Neither AI_USAGE_OUTBOX nor BASE_DIR is set: events are lost if their process "
                "dies.",
                hint="Set AI_USAGE_OUTBOX to a directory that the site can write.",
                id="usage_tracking.W004",
            )
        ]
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not _is_writable_directory(existing):
        return [
            Warning(
                f"The outbox {directory} cannot be written: events are lost if their process dies.",
                hint="Set AI_USAGE_OUTBOX to a directory that the site can write.",
                id="usage_tracking.W005",
            )
        ]
    if directory.is_dir() and (reason := files.distrust(directory)):
        return [
            Warning(
                f"The outbox {directory} is not read: {reason}.",
                hint=f"chmod 700 {directory}, and chown it to the system user of the site.",
                id="usage_tracking.W009",
            )
        ]
    if not directory.is_absolute():
        return [
            Warning(
                f"AI_USAGE_OUTBOX must be an absolute path, not {str(directory)!r}: a server, a "
                "worker and a command with different working directories use different outboxes.",
                hint=f"AI_USAGE_OUTBOX = BASE_DIR / {str(directory)!r}",
                id="usage_tracking.W008",
            )
        ]
    return []


def check_tenants(**_: Any) -> list[CheckMessage]:
    """Check that tables of users and usage are in the same schema, if tenants have schemas."""
    if not conf.enabled():
        return []
    user_app = apps.get_app_config(get_user_model()._meta.app_label)
    ours = apps.get_app_config(AIUsageLog._meta.app_label)
    for setting, named in _apps_of_tenants():
        has_users, has_usage = _lists(named, user_app), _lists(named, ours)
        apart = places.users_are_apart()
        if has_users and (apart or not has_usage):
            what, hint = f"but not {ours.name!r}", f"Add {ours.name!r} to {setting}."
            if apart:
                what = f"and DATABASE_ROUTERS choose another database for {ours.name!r}"
                hint = f"Let DATABASE_ROUTERS choose the users' database for {ours.name!r}."
            return [
                Error(
                    f"{setting} has {user_app.name!r} {what}: the usage of all tenants is in one "
                    "table, where one primary key means many users. Calls are recorded without "
                    "their user.",
                    hint=hint,
                    id="usage_tracking.E014",
                )
            ]
    return []


def _apps_of_tenants() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each setting that lists apps with tables in every tenant's schema, and its value.

    https://django-tenants.readthedocs.io/en/latest/install.html
    https://django-pgschemas.readthedocs.io/en/latest/basic/
    """
    if any("django_tenants" in each["ENGINE"] for each in connections.settings.values()):
        kinds: Mapping[str, Any] = getattr(settings, "TENANT_TYPES", None) or {}
        for name, kind in kinds.items():
            if name != getattr(settings, "PUBLIC_SCHEMA_NAME", "public"):
                yield f"TENANT_TYPES[{name!r}]['APPS']", kind.get("APPS", ())
        if not kinds:
            yield "TENANT_APPS", getattr(settings, "TENANT_APPS", ())
    elif any("django_pgschemas" in each["ENGINE"] for each in connections.settings.values()):
        tenants: Mapping[str, Any] = getattr(settings, "TENANTS", {})
        for name, kind in tenants.items():
            if name != "public":
                yield f"TENANTS[{name!r}]['APPS']", kind.get("APPS", ())


def _lists(named: Sequence[str], config: AppConfig) -> bool:
    return bool({config.name, f"{type(config).__module__}.{type(config).__name__}"} & set(named))


def _is_writable_directory(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
