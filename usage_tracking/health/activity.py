"""Test the calls of the last hours, and whether the daily rows match the rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from .. import conf, daily, errors, places, related_users
from ..capture import selftest
from ..events import UNKNOWN
from ..log import shown_user
from ..models import AIUsageLog
from ..querysets import UNKNOWN_USAGE, UNPRICED
from ..reports import REPRICE, UnpricedModel, unpriced_models
from .findings import Finding, Result, Thresholds, manage, note, ok, problem, warning


def drift(using: str, *, repair: bool) -> Result:
    """Test whether the daily rows are the sums of the rows; with `repair`, rebuild them."""
    findings = (_drift(using, repair=repair), *_deleted(using, repair=repair))
    return Result("Checking that daily rows match AIUsageLog", findings)


def _drift(using: str, *, repair: bool) -> Finding:
    found = daily.rebuild(using=using) if repair else daily.drift(using=using)
    if not found:
        return ok("in_step", "The daily rows match AIUsageLog")
    if repair:
        return ok("mended", f"Rebuilt {len(found)} daily rows: {_first(found, using)}")
    return problem(
        "drift",
        f"{len(found)} daily rows do not match AIUsageLog: {_first(found, using)}",
        manage("diagnose_ai_usage --repair", using),
    )


def _deleted(using: str, *, repair: bool) -> Iterator[Finding]:
    """Test whether the users of the rows exist, if they are in another database."""
    if not places.users_are_apart():
        return
    existing, missing = related_users.existing_and_missing(using=using)
    alias = places.users_of(using)
    if not missing:
        yield ok("users", f"All users in AIUsageLog exist in the database {alias!r}")
    elif not existing:
        text = f"No user in AIUsageLog exists in the database {alias!r} (missing: {len(missing)})"
        yield problem("no_users", text, "Check DATABASE_ROUTERS and the NAME of that database.")
    elif repair:
        related_users.remove(missing, using=using)
        yield ok("users_removed", f"Deleted users removed from AIUsageLog: {len(missing)}")
    else:
        keys = ", ".join(map(str, missing[:5]))
        text = f"{len(missing)} users in AIUsageLog do not exist in the database {alias!r}: {keys}"
        text += ", ..." if len(missing) > 5 else ""
        yield problem("users_missing", text, manage("diagnose_ai_usage --repair", using))


def _first(found: dict[daily.Key, daily.Sums], using: str) -> str:
    (user_id, day), sums = next(iter(found.items()))
    username = related_users.usernames([user_id], using=using).get(user_id)
    name = shown_user(str(user_id), str(username or user_id))
    number = sums.total_requests
    if number:
        what = f"{number} requests missing" if number > 0 else f"{-number} requests too many"
    else:
        what = f"{sums.total_tokens:+d} tokens and {sums.total_cost:+.6f} USD to add"
    return f"the first is that of {name} on {day}, with {what}"


def recent(using: str, limits: Thresholds) -> Result:
    """Test whether calls are recorded, and whether tracking itself failed."""
    title = f"Checking the activity of the last {limits.hours:g} hours"
    return Result(title, (*_recent(using, limits), _failures()))


def _recent(using: str, limits: Thresholds) -> Iterator[Finding]:
    last = _rows(using).order_by("-created_at").values_list("created_at", flat=True).first()
    if last is None:
        yield warning(
            "never", "No call was ever recorded", "Make an AI call in the site, then try again."
        )
        return
    yield note("calls", f"Calls: {_rows(using, hours=limits.hours).count()}")
    allowed = f"{limits.max_silence:g} h"
    fix = 'grep -e TRACK_ERROR -e TRACK_EXCEPTION "$LOG_FILE"'
    if last < timezone.now() - dt.timedelta(hours=limits.max_silence):
        text = f"No call was recorded in the last {allowed}; the last call was at {last:%F %T}"
        yield problem("silence", text, fix)
    elif not _rows(using, hours=limits.max_silence).filter(success=True).exists():
        yield problem("no_success", f"No call of the last {allowed} succeeded", fix)
    else:
        yield ok("active", f"The last call was recorded at {last:%F %T}")


def _failures() -> Finding:
    counted = errors.failures
    if not counted:
        return ok("no_errors", "Tracking itself had no errors in this process")
    places = ", ".join(f"{where} ({number} times)" for where, number in counted.most_common(5))
    text = f"Tracking itself failed {counted.total()} times in this process: {places}"
    return problem("errors", text, 'grep -A 20 TRACK_EXCEPTION "$LOG_FILE"')


def shares(using: str, limits: Thresholds) -> Result:
    """Test how many calls failed or lack data."""
    return Result("Checking failures and missing data", tuple(_shares(using, limits)))


def _shares(using: str, limits: Thresholds) -> Iterator[Finding]:
    counted = _rows(using, hours=limits.hours).aggregate(
        calls=Count("pk"),
        failure_rate=Count("pk", filter=Q(success=False)),
        unattributed=Count("pk", filter=Q(user=None)),
        unknown=Count("pk", filter=UNKNOWN_USAGE),
        unpriced=Count("pk", filter=UNPRICED),
    )
    calls = counted.pop("calls")
    models = (
        unpriced_models(_rows(using, hours=limits.hours), using=using)
        if counted["unpriced"]
        else ()
    )
    for code, number in counted.items():
        name, fix = _SHARES[code]
        fix = fix or _pricing(models, using)
        share, limit = 100 * number / calls if calls else 0.0, getattr(limits, f"max_{code}")
        text = f"{name}: {number} of {calls} ({share:.1f} %)"
        if share <= limit:
            yield ok(code, text)
        elif calls < limits.min_calls:
            yield note(code, f"{text}, too few calls to judge")
        else:
            yield problem(code, f"{text}, more than {limit:g} %", fix)
    yield from _unpriced(models, using)


def _pricing(models: Iterable[UnpricedModel], using: str) -> str:
    """Return the settings that price the models, and then the command that prices their calls."""
    settings = [model.setting for model in models if model.setting]
    command = manage(REPRICE, using)
    return "\n".join((*settings, f"Then run: {command}")) if settings else command


def _unpriced(models: Iterable[UnpricedModel], using: str) -> Iterator[Finding]:
    """Name the models with unpriced calls, each with the setting that prices it."""
    for model in models:
        name = f"{model.model_name or 'an unknown model'} of {model.provider or 'unknown'}"
        text = f"Without a price: {name} ({model.calls} calls)"
        if model.units:
            text += f", {', '.join(model.units)}"
        if model.reason:
            text += f": {model.reason}"
        helps = model.setting or ("" if model.reason else manage(REPRICE, using))
        yield warning("unpriced_model", text, helps)


_SHARES = {
    "failure_rate": (
        "Failed",
        'python manage.py shell -c "from usage_tracking.models import AIUsageLog; '
        "print(*AIUsageLog.objects.filter(success=False)"
        ".values_list('section', 'model_name', 'error_message')[:20], sep='\\n')\"",
    ),
    "unattributed": ("Without a user", "with ai_usage(section=..., user=user):"),
    "unknown": ("Without tokens", 'AI_USAGE_STREAM_USAGE = "request"'),
    # The settings that price the models are fixes of their own.
    "unpriced": ("Without a price", ""),
}


def sections(using: str) -> Result:
    """Test which sections have no calls, and which are not declared."""
    return Result("Checking sections", tuple(_sections(using)))


def _sections(using: str) -> Iterator[Finding]:
    seen = set(_rows(using).values_list("section", flat=True).distinct())
    known = conf.sections()
    # A site that does not declare sections uses some of the default ones. And that no call lacks a
    # section, and so has the default one, is good.
    expected = [code for code in known if conf.declares_sections() or code in seen]
    missing = [code for code in expected if code not in seen and code != conf.default_section()]
    if missing:
        yield warning(
            "sections_never_seen",
            f"Never seen: {', '.join(missing)}",
            f"with ai_usage(section={missing[0]!r}):",
        )
    if foreign := sorted(seen - set(known)):
        own = {*expected, conf.default_section()}
        declared = {code: label for code, label in known.items() if code in own}
        declared |= {code: code.replace("_", " ").title() for code in foreign}
        yield warning(
            "sections_not_declared",
            f"Not in AI_USAGE_SECTIONS: {', '.join(foreign)}",
            f"AI_USAGE_SECTIONS = {declared!r}",
        )
    if not seen and not missing:
        yield note("sections", "No section has calls yet")
    elif not missing and not foreign:
        yield ok("sections", f"Each of the {len(seen)} sections has calls")


def hosts(using: str, limits: Thresholds) -> Result:
    """Test whether unknown hosts answered like AI providers."""
    return Result("Checking for unknown hosts", tuple(_hosts(using, limits)))


def _hosts(using: str, limits: Thresholds) -> Iterator[Finding]:
    found = (
        _rows(using, hours=limits.hours)
        .filter(provider=UNKNOWN, metadata__has_key="host")
        .values_list("metadata__host")
        .annotate(calls=Count("pk"))
        .order_by("-calls")
    )
    started = bool(conf.gateways())
    for host, calls in found:
        entry = f"AI_USAGE_GATEWAYS[{host!r}] = 'openai'"
        fix = entry if started else f"AI_USAGE_GATEWAYS = {{{host!r}: 'openai'}}"
        started = True
        yield warning("unknown_host", f"{host} is not a known provider ({calls} calls)", fix)
    if not found:
        yield ok("hosts", "All hosts are known providers")


def _rows(using: str, *, hours: float | None = None) -> Any:
    """Return the site's own calls of the last `hours`, without test calls that were kept."""
    rows = AIUsageLog.objects.using(using).exclude(model_name=selftest.MODEL).order_by()
    if hours is None:
        return rows
    return rows.filter(created_at__gte=timezone.now() - dt.timedelta(hours=hours))
