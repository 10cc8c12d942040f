"""Check the settings of this app."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from .. import capture, conf
from ..billing import accounts
from ..pricing import own
from ..system import hosting


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings for unknown names, wrong types and names of what does not exist."""
    messages: list[CheckMessage] = []
    wrong = set()
    for name in sorted(name for name in dir(settings) if name.startswith(conf.PREFIX)):
        short, value = name.removeprefix(conf.PREFIX), getattr(settings, name)
        if short not in conf.SETTINGS:
            close = get_close_matches(short, conf.SETTINGS, n=1)
            messages.append(
                Warning(
                    f"{name} is not a setting of usage_tracking.",
                    hint=f"Did you mean {conf.PREFIX}{close[0]}?" if close else "Remove it.",
                    id="usage_tracking.W001",
                )
            )
        elif not isinstance(value, conf.SETTINGS[short]):
            wrong.add(short)
            kinds = " or ".join(map(_type_name, conf.SETTINGS[short]))
            messages.append(
                Error(
                    f"{name} must be of type {kinds}, not {_shown_setting(short, value)}.",
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
        ("BILLING", _check_billing),
        ("SCANNER_EXTRA", _check_scanner_extra),
        ("SCANNER_TRACKERS", _check_scanner_trackers),
    ):
        if short not in wrong:
            messages += check()
    if not wrong & {"SECTIONS", "DEFAULT_SECTION", "SECTION_MAP"} and not any(
        message.id == "usage_tracking.E002" for message in messages
    ):
        messages += _check_section_lists()
    return messages


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


def _check_section_lists() -> Iterator[CheckMessage]:
    sections = conf.sections()
    named = {"AI_USAGE_DEFAULT_SECTION": conf.default_section()}
    named |= {f"AI_USAGE_SECTION_MAP[{key!r}]": code for key, code in conf.section_map().items()}
    for place, code in named.items():
        if code not in sections:
            yield Warning(
                f"{place} must be in AI_USAGE_SECTIONS, not {code!r}.",
                hint=_did_you_mean(code, sections) or "Add it there.",
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
            yield Warning(
                f"AI_USAGE_CAPTURE has {name!r}, which is not a transport.",
                hint=_did_you_mean(name, capture.TRANSPORTS) or _choices(capture.TRANSPORTS),
                id="usage_tracking.W007",
            )


def _check_gateways() -> Iterator[CheckMessage]:
    for place, provider in conf.gateways().items():
        if "://" in str(place) or not all(isinstance(name, str) for name in (place, provider)):
            yield Error(
                "AI_USAGE_GATEWAYS must map host[:port][/prefix], without a scheme, to the name of "
                f"a provider, not {place!r} to {provider!r}.",
                hint='For example {"llm.example.com/openai": "openai"}.',
                id="usage_tracking.E005",
            )


def _check_paths() -> Iterator[CheckMessage]:
    if not conf.paths():
        return
    from ..formats import READERS  # imported only if needed, for a fast start

    for path, wire_format in conf.paths().items():
        if wire_format not in READERS:
            yield Error(
                f"AI_USAGE_PATHS[{path!r}] must be a wire format, not {wire_format!r}.",
                hint=_did_you_mean(wire_format, READERS) or _choices(READERS),
                id="usage_tracking.E007",
            )
        if not str(path).startswith(("/", ":")):
            yield Error(
                "A path in AI_USAGE_PATHS must be the end of a URL path that starts with a slash "
                f"or a colon, not {path!r}.",
                hint='For example {"/llm/answer": "openai.chat"}.',
                id="usage_tracking.E008",
            )


def _check_stream_usage() -> Iterator[CheckMessage]:
    if conf.stream_usage() not in {"unknown", "request"}:
        yield Error(
            f"AI_USAGE_STREAM_USAGE must be 'unknown' or 'request', not {conf.stream_usage()!r}.",
            id="usage_tracking.E009",
        )


def _check_wait() -> Iterator[CheckMessage]:
    value = getattr(settings, f"{conf.PREFIX}WAIT", 0)
    if isinstance(value, bool) or not 0 <= value <= conf.LONGEST_WAIT:
        yield Error(
            f"AI_USAGE_WAIT must be from 0 to {conf.LONGEST_WAIT:.0f} seconds, not {value!r}.",
            hint=hosting.REMEDY,
            id="usage_tracking.E015",
        )


def _check_prices() -> Iterator[CheckMessage]:
    try:
        faults = list(own.faults(getattr(settings, f"{conf.PREFIX}PRICES", {})))
    except Exception as error:  # noqa: BLE001 -- a setting may be any object
        faults = [f" cannot be read: {type(error).__name__}"]
    for fault in faults:
        yield Error(
            f"AI_USAGE_PRICES{fault}".rstrip("?") + ("?" if fault.endswith("?") else "."),
            hint="See docs/prices.md#your-own-prices.",
            id="usage_tracking.E006",
        )


def _check_billing() -> Iterator[CheckMessage]:
    setting = conf.billing()
    see = "See docs/settings.md#bills."
    for fault in accounts.faults(setting):
        yield Error(fault, hint=see, id="usage_tracking.E016")
    for shared in accounts.shared_keys(setting):
        yield Warning(
            shared,
            hint="Create an admin key that makes no calls, and give it only to the host whose cron "
            "runs reconcile_ai_usage.",
            id="usage_tracking.W011",
        )
    for open_url in accounts.clear_text(setting):
        yield Warning(open_url, hint=see, id="usage_tracking.W012")


def _check_scanner_extra() -> Iterator[CheckMessage]:
    if not conf.scanner_extra():
        return
    from ..scanner.data_files import CatalogError, load  # imported only if needed, for a fast start

    try:
        load(tuple(map(str, conf.scanner_extra())))
    except CatalogError as error:
        yield Error(
            f"AI_USAGE_SCANNER_EXTRA: {error}.",
            hint="See docs/scanner.md for the format of the file.",
            id="usage_tracking.E012",
        )


def _check_scanner_trackers() -> Iterator[CheckMessage]:
    for name in conf.scanner_trackers():
        if not str(name).isidentifier():
            yield Error(
                f"AI_USAGE_SCANNER_TRACKERS has {name!r}, which is not a valid function name.",
                hint='Omit the module, for example "bill_tokens".',
                id="usage_tracking.E013",
            )


def _shown_setting(name: str, value: object) -> str:
    """Return a value for a message; AI_USAGE_BILLING may contain keys anywhere."""
    return type(value).__name__ if name == "BILLING" else _shown(value)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 -- a setting may be any object
        return f"<{type(value).__name__}>"


def _type_name(kind: type) -> str:
    return "None" if kind is type(None) else kind.__name__


def _did_you_mean(text: object, names: Iterable[str]) -> str:
    close = get_close_matches(str(text), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def _choices(names: Mapping[str, Any]) -> str:
    return f"Choose from {', '.join(names)}."
