"""Name the installed AI SDKs that the self-test does not call.

`selftest_known.toml` has their names.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from .selftest_sdks import SDKS

_TABLE: dict[str, Any] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
#: SDKs without a test call → why no hook sees their calls, "" if that is not known.
UNTRIED: dict[str, str] = dict.fromkeys(_TABLE["unknown"], "") | {
    name: reason for reason, names in _TABLE["not_captured"].items() for name in names
}
#: Frameworks that have no code of their own for sending: they send through the SDKs they require.
FRAMEWORKS = frozenset(_TABLE["frameworks"])


@dataclass(frozen=True, slots=True)
class Untried:
    """An installed AI SDK or framework without a test call."""

    package: str
    version: str
    #: The SDKs through which it sends; empty if there is none, or it is not known.
    sends_through: tuple[str, ...]
    #: Why no hook sees its calls, "" if that is not known.
    reason: str


def untried_sdks() -> list[Untried]:
    """Return the installed AI SDKs and frameworks that `selftest.try_sdks` does not call."""
    found = []
    for package in sorted({*UNTRIED, *FRAMEWORKS}):
        if installed := installed_version(package):
            sends_through = _sends_through(package) if package in FRAMEWORKS else ()
            found.append(Untried(package, installed, sends_through, UNTRIED.get(package, "")))
    return found


def installed_version(package: str) -> str:
    """Return the version of a distribution, "" if it is not installed or its metadata is broken."""
    try:
        return version(package) or ""
    except Exception:  # noqa: BLE001 -- a broken installation raises anything
        return ""


#: What a framework may send through: an SDK that is tried, or another framework.
_COVERING = FRAMEWORKS | {re.sub(r"[-_.]+", "-", sdk.package) for sdk in SDKS}
#: The name at the begin of a requirement (https://peps.python.org/pep-0508/).
_NAME = re.compile(r"[\w.-]+")


def _sends_through(package: str) -> tuple[str, ...]:
    """Return the installed SDKs and frameworks that a framework requires, else those of extras."""
    # A release may move to an SDK that no hook sees, so its own metadata decides.
    required: set[str] = set()
    optional: set[str] = set()
    for requirement in requires(package) or ():
        if match := _NAME.match(requirement):
            names = optional if "extra ==" in requirement else required
            names.add(re.sub(r"[-_.]+", "-", match[0]).lower())
    return _installed(required) or _installed(optional - {package})


def _installed(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names & _COVERING if installed_version(name)))
