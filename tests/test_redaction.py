"""No secret is kept, and everything that is kept can be stored."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from usage_tracking.redaction import (
    MAX_ERROR,
    MAX_METADATA,
    clean_error,
    clean_metadata,
    clean_text,
    redact,
)

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow],  # depends on the machine
)

BODY = "aB3dE5gH7jK9mN1pQ3sT5vW7"


class TestRedact:
    @pytest.mark.parametrize(
        ("text", "redacted"),
        [
            (
                f"Incorrect API key provided: sk-proj-{BODY}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                "Incorrect API key provided: [redacted] You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
            ),
            (
                "Incorrect API key provided: sk-abcd****wxyz",
                "Incorrect API key provided: [redacted]",
            ),
            (f"sk-ant-api03-{BODY}-{BODY}_AA", "[redacted]"),
            (f"gsk_{BODY}", "[redacted]"),
            (f"xai-{BODY}", "[redacted]"),
            (f"hf_{BODY}", "[redacted]"),
            (f"r8_{BODY}", "[redacted]"),
            (f"pplx-{BODY}", "[redacted]"),
            (f"nvapi-{BODY}", "[redacted]"),
            (f"AIzaSy{BODY}_-{BODY[:7]}", "[redacted]"),
            (f"ya29.a0Af_{BODY}", "[redacted]"),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            (f"token is eyJhbGciOiJIUzI1NiJ9.{BODY}.{BODY}!", "token is [redacted]!"),
            (f"Authorization: Bearer {BODY}", "Authorization: Bearer [redacted]"),
            (f"authorization: bearer {BODY}==", "authorization: bearer [redacted]"),
            ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic [redacted]"),
            (f"Authorization: Token {BODY}", "Authorization: Token [redacted]"),
            (f"{{'Authorization': 'Bearer {BODY}'}}", "{'Authorization': 'Bearer [redacted]'}"),
            (f"{{'x-api-key': '{BODY}'}}", "{'x-api-key': '[redacted]'}"),
            (f'{{"api_key": "{BODY}", "a": 1}}', '{"api_key": "[redacted]", "a": 1}'),
            (f'{{\\"api_key\\": \\"{BODY}\\"}}', '{\\"api_key\\": \\"[redacted]\\"}'),
            (f"bad\\nsk-proj-{BODY}", "bad\\n[redacted]"),
            (f"AZURE_OPENAI_API_KEY={BODY}", "AZURE_OPENAI_API_KEY=[redacted]"),
            (f"https://h/v1?key={BODY}&alt=sse", "https://h/v1?key=[redacted]&alt=sse"),
            (f"https://h/b?sv=2022&sig={BODY}%3D", "https://h/b?sv=2022&sig=[redacted]"),
            (f"aws_secret_access_key={BODY}/x", "aws_secret_access_key=[redacted]"),
            ("https://ada:hunter22@proxy:3128/x", "https://[redacted]@proxy:3128/x"),
            ("redis://:hunter22@cache:6379/0", "redis://[redacted]@cache:6379/0"),
            ("password=hunter22 next", "password=[redacted] next"),
            ("refresh_token: hunter22", "refresh_token: [redacted]"),
            (f"github_pat_11A_{BODY}", "[redacted]"),
            (f"xoxb-123-{BODY}", "[redacted]"),
            (f"AQ.Ab8{BODY}", "[redacted]"),
            (f"openaiApiKey: {BODY}", "openaiApiKey: [redacted]"),
            (f"AccountKey={BODY}==;x", "AccountKey=[redacted];x"),
            (f"apiToken={BODY}", "apiToken=[redacted]"),
            ("pwd=hunter22 passphrase: hunter22", "pwd=[redacted] passphrase: [redacted]"),
            (f"Cookie: sessionid={BODY}", "Cookie: sessionid=[redacted]"),
            (
                f"bad -----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n"
                "-----END RSA PRIVATE KEY----- here",
                "bad [redacted] here",
            ),
            (f"-----BEGIN PRIVATE KEY-----\n{BODY}", "[redacted]"),
        ],
    )
    def test_secret_goes_and_what_is_around_it_stays(self, text, redacted):
        assert redact(text) == redacted

    def test_harmless_text_stays_as_it_is(self):
        texts = [
            "",
            "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM)",
            "This model's maximum context length is 128000 tokens.",
            "max_tokens: 4096, total tokens = 12",
            "max_tokens=4096",
            "HTTPSConnectionPool(host='api.openai.com', port=443): Read timed out.",
            "task-12345678 failed",
            "risk-assessment and disk-encryption",
            "https://docs.example.com/keys?page=2",
            "request id req_011CSHoEeqs5C35K2UUqR7Fy",
            "user@example.com wrote http://example.com:8080/a@b",
        ]

        assert list(map(redact, texts)) == texts


letters = st.text("abcdefghijklmnopqrstuvwxyz äöü\n\t", max_size=80)
body = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=20, max_size=60)
before = st.sampled_from(["", " ", "\n", '"', "'", "(", "[", "{", "<", "`", "=", ": ", ",", "\\n"])
after = st.sampled_from(["", " ", "\n", '"', "'", ")", "]", "}", ">", "`", ",", ".", ";", "\\n"])
shapes = st.sampled_from(
    [
        "sk-{}",
        "sk-proj-{}",
        "sk-ant-api03-{}",
        "sk-or-v1-{}",
        "gsk_{}",
        "xai-{}",
        "pplx-{}",
        "r8_{}",
        "hf_{}",
        "ghp_{}",
        "glpat-{}",
        "nvapi-{}",
        "AIza{}",
        "ya29.{}",
        "AKIA{}",
        "eyJhbGciOiJIUzI1NiJ9.{}.x",
        "Bearer {}",
        "Basic {}=",
        "https://ada:{}@example.com",
        "?key={}&x=1",
        "api_key={}",
        "api-key: {}",
        '"apiKey": "{}"',
        "'x-api-key': '{}'",
        "x-goog-api-key: {}",
        "access_token={}",
        "client_secret={}",
        "password: {}",
        "signature={}",
    ]
)


@st.composite
def leaks(draw: st.DrawFn) -> tuple[str, str]:
    """A secret, and a text that holds it."""
    secret = draw(body)
    lead = draw(before)
    if lead:
        lead = draw(letters) + lead
    return secret, lead + draw(shapes).format(secret) + draw(after) + draw(letters)


def pieces(secret: str) -> Iterator[str]:
    return (secret[n : n + 8] for n in range(len(secret) - 7))


class TestNoSecretSurvives:
    @PROPERTY
    @given(leak=leaks())
    def test_in_an_error(self, leak):
        secret, text = leak

        kept = clean_error(text)

        assert not any(piece in kept for piece in pieces(secret))

    @PROPERTY
    @given(leak=leaks(), padding=st.integers(3900, 4010))
    def test_where_a_long_error_is_cut(self, leak, padding):
        secret, text = leak

        kept = clean_error("a " * (padding // 2) + text)

        assert not any(piece in kept for piece in pieces(secret))

    @PROPERTY
    @given(leak=leaks())
    def test_anywhere_in_metadata(self, leak):
        secret, text = leak

        kept = json.dumps(
            clean_metadata(
                {
                    "text": text,
                    "list": [text, (text,), {text}],
                    "deep": {"er": {"and": [{"deeper": text}]}},
                    text: "a key",
                    "nested": {text: "a key"},
                }
            ),
            ensure_ascii=False,
        )

        assert not any(piece in kept for piece in pieces(secret))

    @PROPERTY
    @given(leak=leaks(), padding=st.integers(3900, 4100))
    def test_where_long_metadata_is_cut(self, leak, padding):
        secret, text = leak

        kept = json.dumps(clean_metadata({"text": "a " * (padding // 2) + text}))

        assert not any(piece in kept for piece in pieces(secret))

    def test_under_a_name_that_has_that_reason(self):
        names = [
            "api_key",
            "apikey",
            "apiKey",
            "API-KEY",
            "x-api-key",
            "OPENAI_API_KEY",
            "secret",
            "client_secret",
            "secret_key",
            "SECRET_KEY",
            "aws_secret_access_key",
            "access_key",
            "password",
            "db.password",
            "passphrase",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "token",
            "access_token",
            "accessToken",
            "refreshToken",
            "csrf_token",
            "credentials",
            "private_key",
            "pwd",
            "bearer",
            "jwt",
            "sessionid",
        ]
        kept = {}
        for name in names:
            cleaned = clean_metadata({name: "hunter2", "deep": {name: ["hunter2"]}})
            if cleaned != {name: "[redacted]", "deep": {name: "[redacted]"}}:
                kept[name] = cleaned

        assert kept == {}

    def test_harmless_name_keeps_its_value(self):
        harmless = [
            *("max_tokens", "prompt_tokens", "token_count"),
            *("monkey", "cache_key", "key", "tokenizer"),
        ]
        metadata = dict.fromkeys(harmless, "value")

        assert clean_metadata(metadata) == metadata


class TestText:
    def test_text_is_what_every_database_stores(self):
        texts = [
            ("plain", "plain"),
            ("x" * 20, "x" * 20),
            ("x" * 21, "x" * 19 + "…"),
            ("a\0b", "a�b"),
            ("\ud83d\ude80", "??"),
            ("🚀", "🚀"),
            (5, "5"),
            (None, "None"),
        ]
        wrong = [
            (value, cleaned) for value, kept in texts if (cleaned := clean_text(value, 20)) != kept
        ]

        assert wrong == []

    @PROPERTY
    @given(text=st.text(st.characters(exclude_categories=[])), limit=st.integers(1, 50))
    def test_text_is_always_storable_and_within_the_limit(self, text, limit):
        kept = clean_text(text, limit)

        assert len(kept) <= limit
        assert "\0" not in kept
        kept.encode()

    @PROPERTY
    @given(text=st.text(st.characters(exclude_categories=[]), max_size=2000))
    def test_error_is_always_storable_and_within_the_limit(self, text):
        kept = clean_error(text)

        assert len(kept) <= MAX_ERROR
        assert "\0" not in kept
        kept.encode()

    def test_error_object_is_its_text(self):
        assert clean_error(ValueError("no")) == "no"

    def test_huge_error_is_cut(self):
        assert clean_error("<html>" * 10**6) == ("<html>" * 84)[:499] + "…"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=200)
    | st.binary(max_size=20)
    | st.decimals()
    | st.dates()
    | st.uuids()
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=[]), max_size=150) | st.integers() | st.none(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=40,
)


class TestMetadata:
    @pytest.mark.slow
    @PROPERTY
    @given(value=values | st.dictionaries(st.text(max_size=20), values, max_size=30))
    def test_result_is_always_a_storable_object_of_at_most_4_kb(self, value):
        kept = clean_metadata(value)

        assert isinstance(kept, dict)
        line = json.dumps(kept, allow_nan=False)
        assert len(line) <= MAX_METADATA
        # PostgreSQL refuses an escaped NUL; a backslash of the text is escaped itself.
        assert "\\u0000" not in line.replace("\\\\", "")
        json.dumps(kept, ensure_ascii=False).encode()
        assert json.loads(line) == kept

    @pytest.mark.slow
    @PROPERTY
    @given(value=st.dictionaries(st.text(max_size=20), values, max_size=5))
    def test_cleaning_twice_changes_nothing_more(self, value):
        kept = clean_metadata(value)
        assume("truncated" not in kept)

        assert clean_metadata(kept) == kept

    def test_what_json_knows_is_kept_as_it_is(self):
        metadata: dict[str, Any] = {
            "a": 1,
            "b": 1.5,
            "c": None,
            "d": True,
            "e": "ä",
            "f": [1, {"g": []}],
            "h": {},
        }

        assert clean_metadata(metadata) == metadata

    def test_what_json_does_not_know_is_marked(self):
        values: list[tuple[object, object]] = [
            (dt.datetime(2026, 3, 14, 12, tzinfo=dt.UTC), "2026-03-14T12:00:00+00:00"),
            (dt.date(2026, 3, 14), "2026-03-14"),
            (dt.time(12), "12:00:00"),
            (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (Decimal("0.10"), "0.10"),
            (float("nan"), "nan"),
            (float("-inf"), "-inf"),
            (2**63 - 1, 2**63 - 1),
            (-(2**63) + 1, -(2**63) + 1),
            (2**63, str(2**63)),
            (10**60, f"{'1' + '0' * 48}…"),
            (10**5000, "<16610-bit integer>"),
            ((1, 2), [1, 2]),
            ({1}, [1]),
            (frozenset({1}), [1]),
            (b"bytes", "<bytes>"),
            (object(), "<object>"),
            (ValueError("sk-secret"), "<ValueError>"),
            ({7: "seven"}, {"7": "seven"}),
        ]
        wrong = [
            # A huge number cannot be shown.
            (type(value), kept, cleaned)
            for value, kept in values
            if (cleaned := clean_metadata({"a": value})) != {"a": kept}
        ]

        assert wrong == []

    def test_subclass_of_a_number_becomes_the_number(self):
        class Level(IntEnum):
            HIGH = 3

        class Color(StrEnum):
            RED = "red"

        kept = clean_metadata({"level": Level.HIGH, "color": Color.RED})

        assert json.dumps(kept) == '{"level": 3, "color": "red"}'

    def test_what_is_no_mapping_is_marked(self):
        for value in ("text", 7, [1], object(), b"x"):
            assert clean_metadata(value) == {"invalid": f"<{type(value).__name__}>"}

    def test_nothing_is_an_empty_mapping(self):
        nothing: list[object] = [None, {}, "", [], 0, False]

        assert list(map(clean_metadata, nothing)) == [{}] * 6

    def test_entries_that_fit_are_kept_and_the_rest_is_informative(self):
        kept = clean_metadata({f"key{n:03}": "x" * 100 for n in range(100)})

        assert kept.pop("truncated") is True
        assert 30 < len(kept) < 40
        assert list(kept) == [f"key{n:03}" for n in range(len(kept))]

    def test_one_huge_entry_does_not_take_the_small_ones_before_it(self):
        assert clean_metadata({"id": 7, "prompt": "x" * 10**6}) == {"id": 7, "truncated": True}

    def test_depth_is_limited(self):
        deep: Any = "bottom"
        for _ in range(20):
            deep = {"a": deep}

        text = json.dumps(clean_metadata(deep))

        assert "[truncated]" in text
        assert "bottom" not in text

    def test_circle_ends(self):
        circle: dict[str, Any] = {"id": 7}
        circle["self"] = circle

        kept = clean_metadata(circle)

        assert kept["id"] == 7
        assert "[truncated]" in json.dumps(kept)

    def test_tangle_of_circles_is_not_walked_to_its_end(self):
        visits = 0

        class Knot(list[Any]):
            def __iter__(self) -> Iterator[Any]:
                nonlocal visits
                visits += 1
                return super().__iter__()

        knot = Knot()
        knot.extend([knot] * 9)

        kept = clean_metadata({"id": 7, "knot": knot})

        assert kept["id"] == 7
        assert visits < 5000

    def test_endless_mapping_is_not_read_to_its_end(self):
        class Endless(dict[str, int]):
            def items(self) -> Any:
                n = 0
                while True:
                    n += 1
                    yield f"key{n}", n

        kept = clean_metadata(Endless(a=1))

        assert kept["truncated"] is True
        assert kept["key1"] == 1
