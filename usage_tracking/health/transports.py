"""Try whether the calls of every installed HTTP library and SDK are captured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import packages_distributions

from .. import capture, conf
from ..capture import selftest
from .findings import Finding, Result, note, ok, problem, warning

#: How `Trial.problem` begins if the library raised an error.
_NOT_MADE = "the call could not be made"
_ALL = "AI_USAGE_CAPTURE = True"
#: How to find out whether an SDK is captured.
_LOOK = "with usage_tracking.testing.captured_ai_usage() as calls: ...  # a call; print(calls)"
_RECORD = "with ai_usage(section=...) as usage: usage.record(response)"


def transports() -> Result:
    """Make a call through every installed HTTP library."""
    return Result("Checking capture of the installed transports", tuple(_transports()))


def _transports() -> Iterator[Finding]:
    if _is_off():
        yield note("not_tried", "Not tested: capture is off")
        return
    trials = selftest.try_transports()
    left_out = _left_out()
    for name in left_out:
        yield warning("transport_left_out", f"{name} is not in AI_USAGE_CAPTURE", _ALL)
    reasons = {status.transport: status.reason for status in capture.status()}
    tried = [trial for trial in trials if trial.package not in left_out]
    yield from _findings("transport", tried, _pin, reasons)


def _pin(trial: selftest.Trial) -> str:
    distributions = packages_distributions().get(trial.package, [trial.package])
    return f'pip install "{distributions[0]}<{trial.version}"'


def sdks(*, skip: bool) -> Result:
    """Make a call through every installed SDK. Takes seconds: SDKs are slow to import."""
    if skip or _is_off():
        text = "Skipped" if skip else "Not tested: capture is off"
        found = [note("not_tried", text)]
    else:
        found = [*_tried_sdks(), *map(_untried_sdk, selftest.untried_sdks())]
    none = note("no_sdk", "No known AI SDK is installed")
    return Result("Checking capture of the installed SDKs", tuple(found or [none]))


def _tried_sdks() -> Iterator[Finding]:
    left_out = _left_out()
    trials = selftest.try_sdks()
    reason = f"AI_USAGE_CAPTURE leaves out {', '.join(left_out)}" if left_out else ""
    reasons = {trial.package: reason for trial in trials}
    return _findings("sdk", trials, lambda _: _ALL if left_out else _RECORD, reasons)


def _untried_sdk(sdk: selftest.Untried) -> Finding:
    name = f"{sdk.package} {sdk.version}"
    if sdk.sends_through:
        return note("sdk_sends_through", f"{name} sends through {', '.join(sdk.sends_through)}")
    if sdk.reason:
        return warning("sdk_not_seen", f"{name} is not captured: {sdk.reason}", _RECORD)
    return warning("sdk_unknown", f"Cannot vouch for {name}: no test call is known", _LOOK)


def _left_out() -> list[str]:
    """Return the installed transports that the site does not want to be hooked."""
    wanted = conf.capture()
    if wanted is True:
        return []
    installed = (status.transport for status in capture.status() if status.version)
    return [name for name in installed if not wanted or name not in wanted]


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
