"""Try whether the calls of every installed HTTP library and SDK are captured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .. import capture, conf
from ..capture import selftest
from .findings import Finding, Result, note, ok, problem, warning

#: How `Trial.problem` begins if the library raised an error.
_NOT_MADE = "the call could not be made"


def transports() -> Result:
    """Make a call through every installed HTTP library."""
    return Result("Checking that every installed transport captures", tuple(_transports()))


def _transports() -> Iterator[Finding]:
    if _is_off():
        yield note("not_tried", "Not tested: capture is off")
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
    yield from _findings("transport", tried, _pin, reasons)


def _pin(trial: selftest.Trial) -> str:
    return f'pip install "{trial.package}<{trial.version}"'


def sdks(*, skip: bool) -> Result:
    """Make a call through every installed SDK. Takes seconds: SDKs are slow to import."""
    title = "Checking that every installed SDK is captured"
    if skip or _is_off():
        text = "Skipped" if skip else "Not tested: capture is off"
        return Result(title, (note("not_tried", text),))
    found = _findings(
        "sdk",
        selftest.try_sdks(),
        lambda _: "with ai_usage(section=...) as usage: usage.record(response)",
        {},
    )
    return Result(title, tuple(found) or (note("no_sdk", "No supported SDK is installed"),))


def _is_off() -> bool:
    return not conf.enabled() or not conf.capture()


def _findings(
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
