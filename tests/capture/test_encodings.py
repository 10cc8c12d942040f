"""Bodies in every content-encoding, in any pieces."""

from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.test_transports import encoded, quick
from tests.support.cases import check_each
from usage_tracking.capture import encodings, exchange
from usage_tracking.capture.encodings import Decode, UndecodableError, decoder
from usage_tracking.events import UsageEvent

ENCODINGS = ("gzip", "deflate", "br", "zstd")


def decoded(encoding: str, pieces: list[bytes]) -> bytes:
    decode = decoder(encoding)
    assert decode is not None
    return b"".join(out for piece in pieces for out in decode(piece))


@quick
@given(
    body=st.binary(max_size=5000),
    encoding=st.sampled_from(ENCODINGS),
    places=st.lists(st.integers(0, 6000), max_size=20).map(sorted),
)
def test_any_pieces_give_the_body(body: bytes, encoding: str, places: list[int]) -> None:
    wire = encoded(body, encoding)
    pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]

    assert decoded(encoding, pieces) == body


@pytest.mark.slow
@quick
@given(data=st.binary(min_size=1, max_size=300), encoding=st.sampled_from(ENCODINGS))
def test_garbage_raises_nothing_else(data: bytes, encoding: str) -> None:
    with suppress(UndecodableError):
        decoded(encoding, [data, data])


def test_nothing_to_undo() -> None:
    names = ["", "identity", "Identity", " , "]

    assert {name: decoder(name) for name in names} == dict.fromkeys(names)


def test_names_ignore_case() -> None:
    wire, names = encoded(b"words", "gzip"), ["gzip", "GZIP", " x-gzip "]

    assert {name: decoded(name, [wire]) for name in names} == dict.fromkeys(names, b"words")


def test_encodings_are_undone_from_the_last_to_the_first() -> None:
    assert decoded("br, gzip", [encoded(encoded(b"words", "br"), "gzip")]) == b"words"


def test_frames_of_zstd_follow_each_other() -> None:
    wire = encoded(b"first ", "zstd") + encoded(b"second", "zstd")

    assert decoded("zstd", [wire]) == b"first second"
    assert decoded("zstd", [wire[:-3], wire[-3:]]) == b"first second"


def test_members_of_gzip_follow_each_other() -> None:
    parts = [b"data: 1\n\n", b"", b"x" * 1_000_000, b"data: 2\n\n"]
    wire = b"".join(map(gzip.compress, parts))

    assert decoded("gzip", [wire]) == b"".join(parts)
    assert decoded("gzip", [wire[at : at + 1] for at in range(len(wire))]) == b"".join(parts)


def test_deflate_without_its_header_is_read() -> None:
    """urllib3, httpx and aiohttp read it too."""
    body = b"data: 1\n\n" * 100
    wire = zlib.compress(body, wbits=-15)

    assert decoded("deflate", [wire]) == body
    assert decoded("deflate", [wire[at : at + 1] for at in range(len(wire))]) == body


def test_unknown_encoding_is_named() -> None:
    def check(encoding: str) -> None:
        name = encoding.rpartition(" ")[2]
        with pytest.raises(UndecodableError, match=f"^content-encoding {name} cannot be read$"):
            decoder(encoding)

    check_each(check, ["compress", "aws-chunked", "gzip, compress"])


class TestPackages:
    """The result does not depend on which of the packages is installed."""

    @pytest.mark.parametrize(
        ("encoding", "missing"),
        [
            ("br", {"brotli": None, "brotlicffi": None}),
            (
                "zstd",
                {"compression.zstd": None, "backports.zstd": None, "zstandard": None},
            ),
        ],
    )
    def test_without_any_the_encoding_is_named(
        self, encoding: str, missing: dict[str, None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in missing:
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UndecodableError, match=f"content-encoding {encoding}"):
            decoder(encoding)

    def test_zstandard_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("compression.zstd", "backports.zstd"):
            monkeypatch.setitem(sys.modules, name, None)
        wire = zstandard.ZstdCompressor().compress(b"words")

        assert decoded("zstd", [wire[:5], wire[5:]]) == b"words"

    def test_brotlicffi_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its method has another name."""
        import brotli

        class Decompressor:
            def __init__(self) -> None:
                self.decompress: Callable[[bytes], bytes] = brotli.Decompressor().process

        package: Any = SimpleNamespace(Decompressor=Decompressor)
        monkeypatch.setitem(sys.modules, "brotli", None)
        monkeypatch.setitem(sys.modules, "brotlicffi", package)

        assert decoded("br", [encoded(b"words", "br")]) == b"words"


#: The packages before they could stop in the middle of their input.
OLD = ("old brotli", "old zstandard")


@pytest.fixture
def old_packages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the encoding, decoded by the package that the parameter names."""
    name: str = request.param
    if name == "old brotli":
        import brotli

        class Decompressor:
            def __init__(self) -> None:
                self.process: Callable[[bytes], bytes] = brotli.Decompressor().process

        package: Any = SimpleNamespace(Decompressor=Decompressor)
        monkeypatch.setitem(sys.modules, "brotli", package)
    elif name == "old zstandard":
        for missing in ("compression.zstd", "backports.zstd"):
            monkeypatch.setitem(sys.modules, missing, None)
    return {"old brotli": "br", "old zstandard": "zstd"}.get(name, name)


every_package = pytest.mark.parametrize("old_packages", [*ENCODINGS, *OLD], indirect=True)


def until_left(decode: Decode, wire: bytes) -> tuple[bytes, str]:
    """Return what comes before `UndecodableError`, and its message."""
    kept = b""
    try:
        for piece in decode(wire):
            kept += piece
    except UndecodableError as error:
        return kept, str(error)
    return kept, ""


@pytest.mark.slow
@every_package
class TestBombs:
    """A few bytes that expand to very many are never held, and not read to their end."""

    def test_it_is_left_at_the_ratio(self, old_packages: str) -> None:
        wire = encoded(b" " * (24 * 2**20), old_packages)
        decode = decoder(old_packages)
        assert decode is not None
        kept, said = until_left(decode, wire)

        assert said == "compressed body expands more than 100 times"
        assert len(kept) <= max(encodings.FREE, len(wire) * encodings.MAX_RATIO)

    def test_it_comes_in_pieces_of_bounded_size(
        self, old_packages: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encodings, "FREE", 2**30)
        wire = encoded(b" " * (24 * 2**20), old_packages)
        decode = decoder(old_packages)
        assert decode is not None
        tracemalloc.start()
        sizes = [len(piece) for piece in decode(wire)]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert sum(sizes) == 24 * 2**20
        assert max(sizes) <= 17 * 2**20
        assert most <= 18 * 2**20  # less than all of it

    def test_it_is_left_at_the_size(
        self, old_packages: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encodings, "MAX_DECODED", 2**20)
        body = random.Random(7).randbytes(2**20 + 2**19)
        wire = encoded(body, old_packages)
        decode = decoder(old_packages)
        assert decode is not None
        kept, said = until_left(decode, wire)

        assert said == "compressed body has more than 1 MiB"
        assert body.startswith(kept)

    def test_body_below_the_limits_is_read(self, old_packages: str) -> None:
        answer = b'{"index": 12, "embedding": [0.012, -0.0345], "object": "embedding"}, ' * 1000
        body = b"".join(answer + random.Random(n).randbytes(1500).hex().encode() for n in range(40))
        wire = encoded(body, old_packages)
        pieces = [wire[at : at + 7777] for at in range(0, len(wire), 7777)]

        assert decoded(old_packages, pieces) == body


@pytest.mark.slow
def test_bomb_in_a_bomb_is_left() -> None:
    wire = encoded(encoded(b" " * (256 * 2**20), "gzip"), "gzip")

    with pytest.raises(UndecodableError, match="expands more than 100 times"):
        decoded("gzip, gzip", [wire])


def test_number_of_encodings_is_bounded() -> None:
    with pytest.raises(UndecodableError, match=r"^body has 4 encodings, more than 3$"):
        decoder("gzip, br, zstd, gzip")
    assert decoder("gzip, br, identity, zstd") is not None


@pytest.mark.parametrize("old_packages", ["zstd", "old zstandard"], indirect=True)
def test_window_of_zstd_is_bounded(old_packages: str) -> None:
    """A frame may request gigabytes before it has any content."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=26)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    wire = compressor.compress(b"words") + compressor.flush()

    with pytest.raises(UndecodableError, match=r"^compressed body cannot be read$"):
        decoded(old_packages, [wire])


def test_number_of_zstd_frames_is_bounded() -> None:
    with pytest.raises(UndecodableError, match=r"^compressed body has more than 1000 frames$"):
        decoded("zstd", [encoded(b"", "zstd") * 1001])


def test_number_of_gzip_members_is_bounded() -> None:
    with pytest.raises(UndecodableError, match="more than 20000 members"):
        decoded("gzip", [gzip.compress(b"") * 20_001])


def test_what_follows_the_end_is_not_kept() -> None:
    decode = decoder("gzip")
    assert decode is not None
    assert b"".join(decode(encoded(b"words", "gzip"))) == b"words"
    tracemalloc.start()
    for _ in range(100):
        assert list(decode(b"\0" * 100_000)) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 100_000


@pytest.mark.slow
class TestExchange:
    """The row of a body that is abandoned."""

    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize(
        "content_type", ["text/event-stream", "application/json", "application/x-ndjson"]
    )
    def test_usage_is_unknown_and_the_row_has_the_reason(
        self, content_type: str, encoding: str
    ) -> None:
        # Running counts come before it: they are not the usage of a body that was not read.
        events: list[UsageEvent] = []
        token = exchange.trial_events.set(events)
        try:
            call = exchange.begin(
                "httpx",
                "POST",
                "generativelanguage.googleapis.com",
                None,
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
                b"{}",
            )
        finally:
            exchange.trial_events.reset(token)
        assert call is not None
        call.answered(200, {"content-type": content_type, "content-encoding": encoding})
        lead = b'data: {"candidates": [], "usageMetadata": {"promptTokenCount": 7}}\n\n'
        call.chunk(encoded(lead + b" " * (24 * 2**20), encoding))
        call.end()

        (event,) = events
        assert event.usage_source == "unknown"
        assert event.prompt_tokens is None
        assert event.metadata["unknown"] == "compressed body expands more than 100 times"
