"""Any text costs at most linear time, and only a bounded part of it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from benchmarks.hostile import HOSTILE
from usage_tracking import redaction
from usage_tracking.events import UsageEvent, utc_now, uuid7
from usage_tracking.redaction import (
    MAX_NAME,
    PATTERNS,
    clean_error,
    clean_metadata,
    clean_name,
    clean_text,
    redact,
)
from usage_tracking.usage import Usage

JWTS = "eyJ-" * 600_000


class Spy:
    """Counts the characters that the expression reads."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.read = 0

    def sub(self, replacement: Any, text: str) -> str:
        self.read += len(text)
        return self.pattern.sub(replacement, text)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy(redaction._SECRETS)
    monkeypatch.setattr(redaction, "_SECRETS", spy)
    return spy


class TestBounds:
    def test_error_is_cut_before_it_is_read(self, spy: Spy) -> None:
        for text in (JWTS, "a " * 10**6, "eyJ" + "a" * 10**6, "key" + " " * 10**6):
            spy.read = 0
            clean_error(text)
            assert spy.read <= 4000, text[:10]

    @pytest.mark.parametrize(
        "metadata",
        [
            {"one": "eyJ- " * 600_000},
            {f"key{n}": "eyJ-" * 1000 for n in range(600)},
            {"list": ["eyJ-" * 1000] * 600},
            {"deep": {"er": [{"and": "eyJ-" * 1000}] * 600}},
            {f"{n}" + "eyJ-" * 1000: n for n in range(600)},
            {"short": ["eyJ-"] * 600_000},
        ],
        ids=["one", "strings", "list", "deep", "names", "short"],
    )
    def test_mapping_is_cut_as_a_whole(self, metadata: dict[str, Any], spy: Spy) -> None:
        kept = clean_metadata(metadata)

        assert kept["truncated"] is True
        assert spy.read <= 16384

    def test_secrets_that_leave_room_do_not_hide_that_something_is_missing(self) -> None:
        kept = clean_metadata({"list": [f"sk-{'k7' * 1000}"] * 50})

        assert kept["truncated"] is True

    def test_names_are_cut_before_anything_else(self) -> None:
        class Text(str):
            """Records which part of it was taken."""

            def replace(self, *_: Any) -> str:
                raise AssertionError("read as a whole")

            def encode(self, *_: Any) -> bytes:
                raise AssertionError("read as a whole")

        assert len(clean_text(Text("ä" * 10**6), 100)) == 100
        assert clean_name(Text("ä" * 10**6)) == "ä" * (MAX_NAME - 1) + "…"

    def test_event_of_megabytes_is_small(self, spy: Spy) -> None:
        event = UsageEvent.create(
            id=uuid7(utc_now()),
            created_at=utc_now(),
            usage=Usage(),
            model_name=JWTS,
            section=JWTS,
            provider=JWTS,
            error_message=JWTS,
            metadata={"one": JWTS, "two": [JWTS] * 10, JWTS: JWTS},
        )

        assert len(event.to_json()) < 8192
        assert spy.read <= 4000 + 16384


class TestCut:
    """A text is cut before it is read, and half a secret is not recognised."""

    @pytest.mark.parametrize("keys", [0, 3, 30])
    def test_half_a_secret_goes(self, keys: int) -> None:
        # Redaction makes room for the text at the cut.
        lead = "sk-proj-" + "aB3dE5gH" * 14 + " "
        for length in range(3700, 4001, 3):
            text = (lead * keys)[:3600].ljust(length, "x") if keys else "x " * (length // 2)
            kept = clean_error(f"{text} postgres://me:hunter22hunter22@db/x and more" + " z" * 500)
            assert "hunter" not in kept, length

    def test_long_word_is_kept(self) -> None:
        assert clean_error("<html>" * 10**6) == ("<html>" * 84)[:499] + "…"


class TestPatterns:
    """What has no bound stands at an end of its alternative, where nothing behind it can fail.

    So the search from one place reads a bounded number of characters, or it succeeds and goes on
    behind what it has read: the sum is linear.
    """

    @pytest.mark.parametrize("name", PATTERNS)
    def test_only_the_end_is_unbounded(self, name: str) -> None:
        assert list(_unbounded_inside(_parser.parse(PATTERNS[name]).data, at_end=True)) == []

    def test_whole_expression_too(self) -> None:
        parsed = _parser.parse(redaction._SECRETS.pattern).data

        assert list(_unbounded_inside(parsed, at_end=True)) == []

    def test_every_pattern_is_in_the_benchmark(self) -> None:
        assert HOSTILE.keys() >= PATTERNS.keys()

    def test_quadratic_pattern_would_be_found(self) -> None:
        for quadratic in (r"eyJ[a-z-]{8,}\.", r"a\s*=", r"(?:a+)+b", r"a(?=b*c)", r"x.*?y"):
            parsed = _parser.parse(quadratic).data
            assert list(_unbounded_inside(parsed, at_end=True)), quadratic

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_text_is_read(self, name: str) -> None:
        text = HOSTILE[name](10_000)

        assert 5000 < len(text) < 20_000
        assert isinstance(redact(text), str)


_REPEATS = {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}


def _unbounded_inside(parsed: Any, *, at_end: bool) -> Iterator[Any]:
    """Yield the repetitions without a bound behind which something may still fail."""
    for number, (kind, value) in enumerate(parsed):
        # An optional, possessive part cannot fail.
        is_last = at_end and all(map(_cannot_fail, parsed[number + 1 :]))
        if kind in _REPEATS:
            _, most, inner = value
            if most == op.MAXREPEAT and not (is_last and kind == op.POSSESSIVE_REPEAT):
                yield kind, value
            # An inner repetition is followed by the next round, unless there is one only.
            yield from _unbounded_inside(inner, at_end=is_last and most == 1)
        elif kind == op.SUBPATTERN:
            yield from _unbounded_inside(value[-1], at_end=is_last)
        elif kind == op.BRANCH:
            for branch in value[1]:
                yield from _unbounded_inside(branch, at_end=is_last)
        elif kind in {op.ASSERT, op.ASSERT_NOT}:
            yield from _unbounded_inside(value[1], at_end=False)
        elif kind == op.ATOMIC_GROUP:
            yield from _unbounded_inside(value, at_end=is_last)
        elif kind == op.GROUPREF_EXISTS:
            for branch in value[1:]:
                yield from _unbounded_inside(branch or [], at_end=is_last)


def _cannot_fail(item: Any) -> bool:
    kind, value = item
    return kind in _REPEATS and value[0] == 0
