"""System checks: what is wrong with the settings, before it costs a call."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.checks import register as register_check
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.utils.module_loading import import_string

from . import capture, conf, outbox, places
from .models import AIUsageLog
from .pricing import PRICE_KINDS, rate_of
from .system import files, hosting

MIDDLEWARE = "usage_tracking.middleware.AIUsageMiddleware"
#: Of the checks that connect to no database: what this app's own commands wait for. Those of
#: other apps are not theirs to stop at, and on Django 6.1 some connect to every database.
TAG = "usage_tracking"


def register() -> None:
    register_check(check_settings, Tags.compatibility, TAG)
    register_check(check_middleware, Tags.compatibility, TAG)
    register_check(check_database, Tags.database)
    register_check(check_outbox, Tags.files, TAG)
    register_check(check_tenants, Tags.compatibility, TAG)


def check_settings(**_: Any) -> list[CheckMessage]:
    """Unknown names, wrong types, and values that name something that does not exist."""
    messages: list[CheckMessage] = []
    wrong = set()
    for name in sorted(name for name in dir(settings) if name.startswith(conf.PREFIX)):
        short, value = name.removeprefix(conf.PREFIX), getattr(settings, name)
        if short not in conf.SETTINGS:
            close = get_close_matches(short, conf.SETTINGS, n=1)
            messages.append(
                Warning(
                    f"The setting {name} is not known.",
                    hint=f"Did you mean {conf.PREFIX}{close[0]}?" if close else "Remove it.",
                    id="usage_tracking.W001",
                )
            )
        elif not isinstance(value, conf.SETTINGS[short]):
            wrong.add(short)
            kinds = " or ".join(kind.__name__ for kind in conf.SETTINGS[short])
            messages.append(
                Error(
                    f"{name} is {value!r}; it must be of type {kinds}.",
                    id="usage_tracking.E001",
                )
            )
    for short, check in (
        ("SECTIONS", _check_sections),
        ("DAY_TIMEZONE", _check_timezone),
        ("CAPTURE", _check_capture),
        ("GATEWAYS", _check_gateways),
        ("PATHS", _check_paths),
        ("STREAM_USAGE", _check_stream_usage),
        ("WAIT", _check_wait),
        ("PRICES", _check_prices),
        ("SCANNER_EXTRA", _check_scanner_extra),
        ("SCANNER_TRACKERS", _check_scanner_trackers),
    ):
        if short not in wrong:
            messages += check()
    if not wrong & {"SECTIONS", "DEFAULT_SECTION", "SECTION_MAP"} and not any(
        message.id == "usage_tracking.E002" for message in messages
    ):
        messages += _check_section_names()
    return messages


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Whether the middleware is there, after the one that knows the user."""
    if not conf.enabled():
        return []
    from django.contrib.auth.middleware import AuthenticationMiddleware

    from .middleware import AIUsageMiddleware

    ours = authentication = None
    for position, path in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(path)
        except ImportError:
            continue  # Django's own start says it better
        if isinstance(middleware, type) and issubclass(middleware, AIUsageMiddleware):
            ours = position
        if isinstance(middleware, type) and issubclass(middleware, AuthenticationMiddleware):
            authentication = position
    if ours is None:
        return [
            Warning(
                "AIUsageMiddleware is not in MIDDLEWARE: AI calls of requests have no user.",
                hint=f'Add "{MIDDLEWARE}" after the authentication middleware.',
                id="usage_tracking.W002",
            )
        ]
    if authentication is not None and ours < authentication:
        return [
            Warning(
                f"AIUsageMiddleware is at position {ours} of MIDDLEWARE, before "
                f"AuthenticationMiddleware at {authentication}.",
                hint=f'Move "{MIDDLEWARE}" behind it.',
                id="usage_tracking.W003",
            )
        ]
    return []


def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the database can do what delivery asks of it. Run by `check --database`."""
    alias = router.db_for_write(AIUsageLog)
    if databases is not None and alias not in databases:
        return []
    connection: Any = connections[alias]
    if connection.vendor not in {"postgresql", "sqlite"}:
        return [
            Error(
                f"The database {alias!r} is {connection.vendor}; usage_tracking needs PostgreSQL "
                "or SQLite.",
                id="usage_tracking.E010",
            )
        ]
    if connection.vendor == "sqlite" and connection.Database.sqlite_version_info < (3, 35):
        return [
            Error(
                f"SQLite is {connection.Database.sqlite_version}; usage_tracking needs 3.35.",
                id="usage_tracking.E011",
            )
        ]
    return []


def check_outbox(**_: Any) -> list[CheckMessage]:
    """Whether events survive the death of a process, and of its disk."""
    if not conf.enabled() or outbox.inline():
        return []
    directory = conf.outbox()
    return [*_check_directory(directory), *_check_platform(directory)]


def _check_platform(directory: Path | None) -> Iterator[CheckMessage]:
    if not conf.wait() and (risk := hosting.risk(directory)):
        yield Warning(
            f"Calls that are not in the database yet may go away with their process: {risk}.",
            hint=hosting.REMEDY,
            id="usage_tracking.W010",
        )


def _check_directory(directory: Path | None) -> list[CheckMessage]:
    if directory is None:
        return [
            Warning(
                "Neither AI_USAGE_OUTBOX nor BASE_DIR is set: events die with their process.",
                hint="Set AI_USAGE_OUTBOX to a directory that the site may write.",
                id="usage_tracking.W004",
            )
        ]
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not _is_writable_directory(existing):
        return [
            Warning(
                f"The outbox {directory} cannot be written: events die with their process.",
                hint="Set AI_USAGE_OUTBOX to a directory that the site may write.",
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
                f"The outbox {str(directory)!r} is relative: a server, a worker and a command that "
                "start in different directories do not find each other's calls.",
                hint=f"AI_USAGE_OUTBOX = BASE_DIR / {str(directory)!r}",
                id="usage_tracking.W008",
            )
        ]
    return []


def check_tenants(**_: Any) -> list[CheckMessage]:
    """Whether usage has the users of its own tenant beside it, where tenants have schemas."""
    if not conf.enabled():
        return []
    user_app = apps.get_app_config(get_user_model()._meta.app_label)
    ours = apps.get_app_config(AIUsageLog._meta.app_label)
    for setting, named in _apps_of_tenants():
        has_users, has_usage = _names(named, user_app), _names(named, ours)
        apart = places.users_are_apart()
        if has_users and (apart or not has_usage):
            what, hint = f"and not {ours.name!r}", f"Add {ours.name!r} to {setting}."
            if apart:
                what = f"and DATABASE_ROUTERS name another database for {ours.name!r}"
                hint = f"Let DATABASE_ROUTERS name the users' database for {ours.name!r}."
            return [
                Error(
                    f"{setting} has {user_app.name!r} {what}: the usage of all tenants would be in "
                    "one table, where one key stands for many users. Calls are recorded without "
                    "their user.",
                    hint=hint,
                    id="usage_tracking.E014",
                )
            ]
    return []


def _apps_of_tenants() -> Iterator[tuple[str, Sequence[str]]]:
    """The apps with tables in each tenant's schema, by the settings that name them.

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


def _names(named: Sequence[str], config: AppConfig) -> bool:
    return bool({config.name, f"{type(config).__module__}.{type(config).__name__}"} & set(named))


def _is_writable_directory(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _check_sections() -> Iterator[CheckMessage]:
    try:
        sections = conf.sections()
    except (TypeError, ValueError):
        yield Error(
            "AI_USAGE_SECTIONS must be a dict of code to label, or a list of (code, label).",
            id="usage_tracking.E002",
        )
        return
    for code in sections:
        if not code or len(code) > 50:
            yield Error(
                f"The section code {code!r} in AI_USAGE_SECTIONS must have 1 to 50 characters.",
                id="usage_tracking.E003",
            )


def _check_section_names() -> Iterator[CheckMessage]:
    sections = conf.sections()
    named = {"AI_USAGE_DEFAULT_SECTION": conf.default_section()}
    named |= {f"AI_USAGE_SECTION_MAP[{key!r}]": code for key, code in conf.section_map().items()}
    for place, code in named.items():
        if code not in sections:
            close = get_close_matches(str(code), sections, n=1)
            yield Warning(
                f"{place} is {code!r}, which is not in AI_USAGE_SECTIONS.",
                hint=f"Did you mean {close[0]!r}?" if close else "Add it there.",
                id="usage_tracking.W006",
            )


def _check_timezone() -> Iterator[CheckMessage]:
    try:
        conf.day_timezone()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, ImproperlyConfigured) as error:
        yield Error(f"AI_USAGE_DAY_TIMEZONE: {error}", id="usage_tracking.E004")


def _check_capture() -> Iterator[CheckMessage]:
    wanted = conf.capture()
    if isinstance(wanted, bool):
        return
    for name in wanted:
        if name not in capture.TRANSPORTS:
            close = get_close_matches(str(name), capture.TRANSPORTS, n=1)
            yield Warning(
                f"AI_USAGE_CAPTURE names {name!r}, which is no transport.",
                hint=f"Did you mean {close[0]!r}?" if close else _choices(capture.TRANSPORTS),
                id="usage_tracking.W007",
            )


def _check_gateways() -> Iterator[CheckMessage]:
    for place, provider in conf.gateways().items():
        if "://" in str(place) or not all(isinstance(name, str) for name in (place, provider)):
            yield Error(
                f"AI_USAGE_GATEWAYS has {place!r}: {provider!r}; it maps host[:port][/prefix], "
                "without a scheme, to the name of a provider.",
                hint='For example {"llm.example.com/openai": "openai"}.',
                id="usage_tracking.E005",
            )


def _check_paths() -> Iterator[CheckMessage]:
    if not conf.paths():
        return
    from .formats import READERS  # a start without such paths need not wait for them

    for path, wire_format in conf.paths().items():
        if wire_format not in READERS:
            close = get_close_matches(str(wire_format), READERS, n=1)
            yield Error(
                f"AI_USAGE_PATHS[{path!r}] is {wire_format!r}, which is no wire format.",
                hint=f"Did you mean {close[0]!r}?" if close else _choices(READERS),
                id="usage_tracking.E007",
            )
        if not str(path).startswith(("/", ":")):
            yield Error(
                f"AI_USAGE_PATHS has the path {path!r}; it must be how a URL's path ends, from a "
                "slash or a colon on.",
                hint='For example {"/llm/answer": "openai.chat"}.',
                id="usage_tracking.E008",
            )


def _check_stream_usage() -> Iterator[CheckMessage]:
    if conf.stream_usage() not in {"unknown", "request"}:
        yield Error(
            f"AI_USAGE_STREAM_USAGE is {conf.stream_usage()!r}; it must be 'unknown' or 'request'.",
            id="usage_tracking.E009",
        )


def _check_wait() -> Iterator[CheckMessage]:
    value = getattr(settings, f"{conf.PREFIX}WAIT", 0)
    if isinstance(value, bool) or not 0 <= value <= conf.LONGEST_WAIT:
        yield Error(
            f"AI_USAGE_WAIT is {value!r}; it must be seconds, from 0 to {conf.LONGEST_WAIT:.0f}.",
            hint=hosting.REMEDY,
            id="usage_tracking.E015",
        )


def _check_prices() -> Iterator[CheckMessage]:
    given: Mapping[str, Any] = conf.prices()
    for model, prices in given.items():
        if (
            not isinstance(prices, Mapping)
            or not set(prices) <= set(PRICE_KINDS)
            or any(rate_of(price) is None for price in prices.values())
        ):
            yield Error(
                f"AI_USAGE_PRICES[{model!r}] is {prices!r}; it must be a dict of "
                f"{', '.join(PRICE_KINDS)} to USD per million tokens.",
                id="usage_tracking.E006",
            )


def _check_scanner_extra() -> Iterator[CheckMessage]:
    if not conf.scanner_extra():
        return
    from .scanner.catalog import CatalogError, load  # a start without such files need not wait

    try:
        load(tuple(map(str, conf.scanner_extra())))
    except CatalogError as error:
        yield Error(
            f"AI_USAGE_SCANNER_EXTRA: {error}.",
            hint="docs/scanner.md says what such a file holds.",
            id="usage_tracking.E012",
        )


def _check_scanner_trackers() -> Iterator[CheckMessage]:
    for name in conf.scanner_trackers():
        if not str(name).isidentifier():
            yield Error(
                f"AI_USAGE_SCANNER_TRACKERS has {name!r}, which is no name of a function.",
                hint='Without the module: "bill_tokens".',
                id="usage_tracking.E013",
            )


def _choices(names: Mapping[str, Any]) -> str:
    return f"Choose from {', '.join(names)}."
