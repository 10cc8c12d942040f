"""AI_USAGE_BILLING: the accounts whose bill is read, and what is wrong with the setting.

A message never contains a value of the setting, because any value may be a key in the wrong place.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from .. import conf

#: Provider, as the log names it → the options of its account.
OPTIONS: dict[str, tuple[str, ...]] = {
    "openai": ("key", "project_ids", "api_key_ids", "base_url"),
    "anthropic": ("key", "workspace_ids", "api_key_ids", "base_url"),
    "openrouter": ("key", "api_key_ids", "base_url"),
    "aws": ("regions", "profile", "base_url"),
}
_SETTING = f"{conf.PREFIX}BILLING"
_OTHER_NAMES = {"bedrock": "aws", "amazon": "aws", "claude": "anthropic", "gpt": "openai"}


def account(provider: str) -> Mapping[str, Any]:
    """Return the account of a provider in AI_USAGE_BILLING.

    Raises:
        ValueError: There is no account, or something is wrong with it. The message is a sentence.
    """
    setting: Any = conf.billing()
    if not isinstance(setting, Mapping):
        raise ValueError(next(faults(setting)))
    given: Any = setting.get(provider)
    if not given and provider in OPTIONS:
        raise ValueError(f"{_SETTING} has no account of {provider}.")
    only = {provider: given}
    for problem in (*faults(only), *empty_keys(only)):
        raise ValueError(problem)
    found: Mapping[str, Any] = given
    return found


def faults(setting: object) -> Iterator[str]:
    """Yield what is wrong with a value of AI_USAGE_BILLING, in sentences."""
    if not isinstance(setting, Mapping):
        yield f"{_SETTING} must be a dictionary, not {type(setting).__name__}."
        return
    for provider, given in setting.items():
        if not isinstance(provider, str) or provider not in OPTIONS:
            yield f"{_SETTING} has an unknown provider{_named(provider, OPTIONS)}"
        elif isinstance(given, Mapping):
            yield from _account_faults(provider, given)
        else:
            yield f"{_place(provider)} must be a dictionary, not {type(given).__name__}."


def empty_keys(setting: object) -> Iterator[str]:
    """Yield the accounts whose key is empty on this host, in sentences.

    This is no fault, and no check reports it: hosts that serve pages share the settings and need no
    admin key. The host that fetches bills fails with this sentence.
    """
    for provider, given in _accounts(setting):
        if "key" in given and given["key"] in (None, ""):
            yield f"{_place(provider, 'key')} is empty: the bill cannot be read on this host."


def clear_text(setting: object) -> Iterator[str]:
    """Yield the accounts whose key would travel without encryption, in sentences."""
    for provider, given in _accounts(setting):
        url = given.get("base_url")
        if "key" in given and url and not _url_fault(url) and not _is_private(url):
            yield (
                f"{_place(provider, 'base_url')} must be an https:// URL for another host: without "
                "TLS, the key travels in clear text."
            )


def shared_keys(setting: object) -> Iterator[str]:
    """Yield the accounts whose key also makes calls, in sentences."""
    callers = list(_keys_of_callers())
    for provider, given in _accounts(setting):
        key = given.get("key")
        for place, value in callers:
            if key and isinstance(key, str) and key == value:
                yield f"{_place(provider, 'key')} also makes calls: {place} has the same value."
                break


def _keys_of_callers() -> Iterator[tuple[str, str]]:
    """Yield the places of keys with which calls are made, and their values."""
    for name, value in sorted(os.environ.items()):
        if _makes_calls(name):
            yield f"the environment variable {name}", value
    for name in sorted(filter(_makes_calls, dir(settings))):
        setting: object = getattr(settings, name, None)
        if isinstance(setting, str):
            yield f"the setting {name}", setting


def _makes_calls(name: str) -> bool:
    return name.endswith("_API_KEY") and not _ADMIN.search(name)


_ADMIN = re.compile("ADMIN|MANAGEMENT|BILLING")


def _accounts(setting: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    if isinstance(setting, Mapping):
        for provider, given in setting.items():
            if isinstance(provider, str) and provider in OPTIONS and isinstance(given, Mapping):
                yield provider, given


def _account_faults(provider: str, given: Mapping[Any, Any]) -> Iterator[str]:
    options = OPTIONS[provider]
    for option, value in given.items():
        if not isinstance(option, str) or option not in options:
            yield f"{_place(provider)} has an unknown option{_named(option, options)}"
        elif fault := _FAULTS.get(option, _list_fault)(value):
            yield f"{_place(provider, option)} must be {fault}."
    if "key" in options and "key" not in given:
        yield f'{_place(provider)} must have a "key": an admin key of the provider.'
    if "regions" in options and not given.get("regions", ()):
        yield f'{_place(provider)} must have "regions", such as ["eu-central-1"].'


def _key_fault(value: object) -> str:
    if value is None or value == "":
        return ""  # see `empty_keys`
    if not isinstance(value, str):
        return f"text, not {_kind(value)}"
    # A line break would end the header that the key is sent in.
    return "" if _KEY.fullmatch(value) else "one word of ASCII characters, without spaces"


_KEY = re.compile(r"[!-~]+")


def _list_fault(value: object) -> str:
    if not isinstance(value, (list, tuple)):
        return f"a list of text, not {_kind(value)}"
    wrong = [_kind(each) for each in value if not _is_text(each)]
    return f"a list of text; one item is {wrong[0]}" if wrong else ""


def _url_fault(value: object) -> str:
    example = 'an http:// or https:// URL such as "https://api.example.com/v1"'
    if not isinstance(value, str):
        return f"{example}, not {_kind(value)}"
    try:
        url = urlsplit(value)
        is_complete = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a wrong port or IPv6 address
        return example
    if not is_complete or not _KEY.fullmatch(value):
        return example
    if url.username is not None or url.query or url.fragment:
        return f"{example}, without a user, a query and a fragment"
    return ""


def _regions_fault(value: object) -> str:
    fault = _list_fault(value)
    if fault or not isinstance(value, (list, tuple)) or all(map(_REGION.fullmatch, value)):
        return fault
    return 'names of AWS regions, such as ["eu-central-1"]'


_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}")


def _profile_fault(value: object) -> str:
    return "" if _is_text(value) else f"the name of an AWS profile, not {_kind(value)}"


#: Option → what is wrong with its value, "" if nothing is; all others are lists.
_FAULTS = {
    "key": _key_fault,
    "base_url": _url_fault,
    "profile": _profile_fault,
    "regions": _regions_fault,
}


def _is_private(url: str) -> bool:
    """Return whether no other host can read what is sent to the URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _kind(value: object) -> str:
    return "empty text" if isinstance(value, str) and not value.strip() else type(value).__name__


def _place(provider: str, option: str = "") -> str:
    return f"{_SETTING}[{provider!r}]" + (f"[{option!r}]" if option else "")


def _named(given: object, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name, which may be a key in the wrong place."""
    choices = f" Choose from {', '.join(known)}."
    if not isinstance(given, str) or not _PLAIN.fullmatch(given):
        return f".{choices}"
    plain = given.lower()
    other = _OTHER_NAMES.get(plain, "")
    close = [other] if other in known else get_close_matches(plain, known, n=1)
    return f", {given!r}." + (f" Did you mean {close[0]!r}?" if close else choices)


#: Keys have digits.
_PLAIN = re.compile(r"[A-Za-z_ -]{1,30}")
