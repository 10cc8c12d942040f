"""Bodies in every content-encoding, in any pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.capture.test_transports import encoded, quick
from tests.cases import check_each
from usage_tracking.capture import encodings
from usage_tracking.capture.encodings import UndecodableError, decoder

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


@quick
@given(data=st.binary(min_size=1, max_size=300), encoding=st.sampled_from(ENCODINGS))
def test_garbage_raises_nothing_else(data: bytes, encoding: str) -> None:
    with suppress(UndecodableError):
        decoded(encoding, [data, data])


def test_nothing_to_undo() -> None:
    names = ["", "identity", "Identity", " , "]

    assert {name: decoder(name) for name in names} == dict.fromkeys(names)


def test_names_have_no_case() -> None:
    wire, names = encoded(b"words", "gzip"), ["gzip", "GZIP", " x-gzip "]

    assert {name: decoded(name, [wire]) for name in names} == dict.fromkeys(names, b"words")


def test_encodings_are_undone_from_the_last_to_the_first() -> None:
    assert decoded("br, gzip", [encoded(encoded(b"words", "br"), "gzip")]) == b"words"


def test_frames_of_zstd_follow_each_other() -> None:
    wire = encoded(b"first ", "zstd") + encoded(b"second", "zstd")

    assert decoded("zstd", [wire]) == b"first second"
    assert decoded("zstd", [wire[:-3], wire[-3:]]) == b"first second"


def test_encoding_that_nobody_knows_is_named() -> None:
    def check(encoding: str) -> None:
        name = encoding.rpartition(" ")[2]
        with pytest.raises(UndecodableError, match=f"^content-encoding {name} cannot be read$"):
            decoder(encoding)

    check_each(check, ["compress", "aws-chunked", "gzip, compress"])


class TestPackages:
    """Which of the packages is installed makes no difference."""

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

        class Package:
            pass

        Package.Decompressor = Decompressor  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "brotli", None)
        monkeypatch.setitem(sys.modules, "brotlicffi", Package)  # type: ignore[arg-type]

        assert decoded("br", [encoded(b"words", "br")]) == b"words"


def test_bomb_comes_in_pieces_of_bounded_size() -> None:
    decode = decoder("gzip")
    assert decode is not None
    sizes = [len(piece) for piece in decode(encoded(b" " * (40 * 2**20), "gzip"))]

    assert max(sizes) <= encodings.MAX_PIECE
    assert sum(sizes) == 40 * 2**20
