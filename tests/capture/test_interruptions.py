"""A time limit of the site ends the site's work, in any line of ours."""

from __future__ import annotations

import functools
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.capture import test_faults as faults
from tests.support.builders import make_event
from usage_tracking import errors, outbox
from usage_tracking.attribution import scope
from usage_tracking.capture import encodings
from usage_tracking.system import files
from usage_tracking.system.interruptions import by_signal, from_outside

pytestmark = pytest.mark.server

_site = faults._site


class TimeLimitError(Exception):
    """What rq's death penalty, Celery's soft limit and the like raise."""


def strike(*_: object) -> None:
    raise TimeLimitError


class Limit:
    """In rq the handler is a method."""

    def strike(self, number: int, frame: FrameType | None) -> None:
        strike()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        strike()


@pytest.fixture
def alarm() -> Iterator[Callable[[Any], None]]:
    before = signal.getsignal(signal.SIGALRM)
    yield lambda handler: signal.signal(signal.SIGALRM, handler) and None
    signal.signal(signal.SIGALRM, before)


def interrupted(run: Callable[[], Any], place: faults.Line) -> bool:
    """Run until `place`; return whether the error raised there is swallowed."""
    struck = []

    def at(line: faults.Line) -> None:
        if line == place:
            struck.append(line)
            signal.raise_signal(signal.SIGALRM)

    try:
        faults.traced(run, at, place[:2])
    except TimeLimitError:
        return False
    return bool(struck)  # some lines are passed once only


@pytest.mark.costly
@pytest.mark.parametrize("run", faults.SCENARIOS)
def test_time_limit_in_any_line_reaches_the_host(
    run: Callable[[], Any], alarm: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm(strike)
    # Objects freed at that time: Python raises no exception from a finalizer.
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.object))
    expected = run()
    before = errors.failures.total()
    swallowed = []
    for place in faults.assigned()[run]:
        lost.clear()
        if interrupted(run, place) and not lost:
            swallowed.append(f"{place.file}:{place.number} {place.function}")
        scope.open_units.clear()
        if (left := scope.current()) is not None:
            scope.leave(left)
        if scope.gate.locked():
            scope.gate.release()

    gc.collect()
    assert "\n".join(swallowed) == ""
    assert errors.failures.total() == before
    assert run() == expected


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(strike, id="function"),
        pytest.param(Limit().strike, id="method"),
        pytest.param(Limit(), id="object"),
        pytest.param(functools.partial(strike, "soft"), id="partial"),
        pytest.param(lambda *_: int("no number"), id="built-in exception"),
    ],
)
def test_exception_of_any_handler_is_known_for_one(
    handler: Any, alarm: Callable[[Any], None]
) -> None:
    alarm(handler)
    with pytest.raises((TimeLimitError, ValueError)) as raised:
        signal.raise_signal(signal.SIGALRM)

    assert by_signal(raised.value)


def test_limit_that_strikes_in_a_decoder_is_not_an_unreadable_body(
    alarm: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Package:
        class Decompressor:
            def process(self, data: bytes) -> bytes:
                signal.raise_signal(signal.SIGALRM)
                return data

    alarm(strike)
    monkeypatch.setattr(encodings, "_first", lambda *names: Package)
    decode = encodings.decoder("br")
    assert decode is not None
    with pytest.raises(TimeLimitError):
        list(decode(b"some"))


def test_same_exception_raised_elsewhere_is_contained(
    settings: Any, alarm: Callable[[Any], None]
) -> None:
    """An error of the site's user model never reaches the site through us."""
    alarm(lambda *_: None)

    def name() -> str:
        raise TimeLimitError

    assert errors.contained(name)() is None


def test_put_exception_shows_as_a_foreign_class_in_a_line_of_ours() -> None:
    code = compile("raise Foreign", "<anything>", "exec")
    with pytest.raises(TimeLimitError) as raised:
        exec(code, {"__name__": "usage_tracking.anything", "Foreign": TimeLimitError})
    assert from_outside(raised.value)

    with pytest.raises(KeyError) as own:
        exec(code, {"__name__": "usage_tracking.anything", "Foreign": KeyError})
    assert not from_outside(own.value)


def test_event_is_kept_if_a_limit_strikes_while_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, alarm: Callable[[Any], None]
) -> None:
    alarm(strike)
    box = outbox.Outbox(tmp_path)
    monkeypatch.setattr(files, "write_at", lambda *_: signal.raise_signal(signal.SIGALRM))
    event = make_event()
    with pytest.raises(TimeLimitError):
        box.put(event)
    monkeypatch.undo()

    assert [e.id for batch in box.batches(9, lambda event: False) for e in batch] == [event.id]
