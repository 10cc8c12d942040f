"""Whether the calls of every installed HTTP library and SDK are seen: each is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .. import capture, conf
from ..capture import selftest
from .findings import Finding, Result, note, ok, problem, warning

_NOT_MADE = "the call could not be made"


def transports() -> Result:
    """A call through every HTTP library that is installed."""
    return Result("Checking that every installed transport captures", tuple(_transports()))


def _transports() -> Iterator[Finding]:
    if _is_off():
        yield note("not_tried", "Not tried: capture is off")
        return
    wanted = conf.capture()
    trials = selftest.try_transports()
    left_out = set() if wanted is True else set(capture.TRANSPORTS) - set(wanted or ())
    for name in capture.TRANSPORTS:
        if name in left_out and any(trial.package == name for trial in trials):
            fix = "AI_USAGE_CAPTURE = True"
            yield warning("transport_left_out", f"{name} is not in AI_USAGE_CAPTURE", fix)
    reasons = {status.transport: status.reason for status in capture.status()}
    tried = [trial for trial in trials if trial.package not in left_out]
    yield from _told("transport", tried, _pin, reasons)


def _pin(trial: selftest.Trial) -> str:
    return f'pip install "{trial.package}<{trial.version}"'


def sdks(*, leave_out: bool) -> Result:
    """A call through every SDK that is installed; seconds, for SDKs are slow to import."""
    title = "Checking that every installed SDK is captured"
    if leave_out or _is_off():
        text = "Left out" if leave_out else "Not tried: capture is off"
        return Result(title, (note("not_tried", text),))
    found = _told(
        "sdk",
        selftest.try_sdks(),
        lambda _: "with ai_usage(section=...) as usage: usage.record(response)",
        {},
    )
    return Result(title, tuple(found) or (note("no_sdk", "No SDK known here is installed"),))


def _is_off() -> bool:
    return not conf.enabled() or not conf.capture()


def _told(
    kind: str,
    trials: Iterable[selftest.Trial],
    fix: Callable[[selftest.Trial], str],
    reasons: dict[str, str],
) -> Iterator[Finding]:
    for trial in trials:
        name = f"{trial.package} {trial.version} ({trial.mode})"
        if trial.captured:
            yield ok(kind, f"{name} is captured")
        elif trial.problem.startswith(_NOT_MADE):
            yield warning(f"{kind}_not_tried", f"{name}: {trial.problem}", "python -m pip check")
        else:
            why = ": ".join(filter(None, (trial.problem, reasons.get(trial.package))))
            yield problem(f"{kind}_not_captured", f"{name} is not captured: {why}", fix(trial))
