"""Measure the cost of hostile input: seconds per megabyte at two sizes, and the bytes held.

    python -m benchmarks.hostile [--size BYTES]

Linear code has the same figure at both sizes. First comes each pattern of the redaction by itself,
without the limits on its input; then bodies as capture reads them.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

SIZE = 250_000

#: Pattern → makes a text of about so many characters that the pattern tries to match as often as
#: possible, in vain. Further texts for a pattern have a second name after a colon.
HOSTILE: dict[str, Callable[[int], str]] = {
    "key": lambda size: "sk-" * (size // 3),
    "key: words": lambda size: "sk-aaaaaaaaaaaaaaaa-aaaaaaaaaaaaaaaa-" * (size // 37),
    "key: mask": lambda size: "pk_" + "sk_a" * (size // 4),
    "google": lambda size: "AIza/ya29/AQ.a/1//0/" * (size // 20),
    "aws": lambda size: "AKIA/ABSK/bedrock-api-key-/" * (size // 27),
    "aws: secret": lambda size: "/aaaaaaa+aaaaaaa" * (size // 16),
    "azure": lambda size: "~-a8Q~" * (size // 6),
    "meta": lambda size: "LLM|1234567|a" * (size // 13),
    "zhipu": lambda size: "0123456789abcdef0123456789abcdef." * (size // 33),
    "baseten": lambda size: "A2345678." * (size // 9),
    "fal": lambda size: "01234567-0123-0123-0123-012345678901:" * (size // 37),
    "baidu": lambda size: "bce-v3/" * (size // 7),
    "twilio": lambda size: "SK0123456789abcdef-" * (size // 19),
    "telegram": lambda size: "123456789:" * (size // 10),
    "sendgrid": lambda size: "SG.aaaaaaaaaaaaaaaaaaaa." * (size // 24),
    "discord": lambda size: "MMMMMMMMMMMMMMMMMMMMMMMMMM." * (size // 27),
    "jwt": lambda size: "eyJ-" * (size // 4),
    "jwt: dots": lambda size: "eyJa." * (size // 5),
    "random": lambda size: "-".join(["aaaaaaaaA"] * (size // 10)),
    "random: run": lambda size: "a" * size,
    "pem": lambda size: "-----BEGIN PRIVATE KEY-----" + "-----BEGIN " * (size // 11),
    "pem: begins": lambda size: "-----BEGIN A" * (size // 12),
    "pem: ends": lambda size: "-----BEGIN PRIVATE KEY-----" + "-----EN" * (size // 7),
    "scheme": lambda size: "Bearer " * (size // 7),
    "scheme: spaces": lambda size: "Basic" + " " * (size - 5),
    "userinfo": lambda size: "://a" * (size // 4),
    "userinfo: colons": lambda size: "://" + ":a" * (size // 2),
    "userinfo: one": lambda size: "://a:" + "b" * (size - 5),
    "cookie": lambda size: "cookie=" * (size // 7),
    "cookie: pairs": lambda size: "cookie: " + "a=b;" * (size // 4),
    "authorization": lambda size: "authorization: " * (size // 15),
    "authorization: words": lambda size: "authorization: " + "a b c d " * (size // 8),
    "named": lambda size: "key=" * (size // 4),
    "named: spaces": lambda size: "key" + " " * (size - 3),
    "named: quotes": lambda size: "key='" * (size // 5),
    "named: backslashes": lambda size: "key\\\\\\\\" * (size // 7),
    "named: pairs": lambda size: "'key', '" * (size // 8),
}


def patterns(size: int) -> Iterator[tuple[str, float, float]]:
    """Yield each text, and the seconds for each megabyte at `size` and at twice that."""
    from usage_tracking.redaction import redact

    for name, text in HOSTILE.items():
        yield name, _seconds(redact, text(size)), _seconds(redact, text(2 * size))


def _seconds(do: Callable[[str], object], text: str) -> float:
    begun = time.process_time()
    do(text)
    return (time.process_time() - begun) / len(text) * 1e6


#: Bytes of a piece of a body.
PIECE = 65_536


SSE, NDJSON, JSON = "text/event-stream", "application/x-ndjson", "application/json"
FRAMES = "application/vnd.amazon.eventstream"

#: What a body is made of, by its name and its content type.
UNITS: dict[str, tuple[str, bytes]] = {
    "one line without an end (SSE)": (SSE, b"a"),
    "one field without an end (SSE)": (SSE, b"data:"),
    "empty lines (SSE)": (SSE, b"\n"),
    "empty fields (SSE)": (SSE, b"data:\n"),
    "events of a letter (SSE)": (SSE, b"data: a\n\n"),
    "empty lines of CR (SSE)": (SSE, b"\r"),
    "objects beside fields (SSE)": (SSE, b"data: {}\n{}\n"),
    "empty lines (no type)": ("", b"\n"),
    "empty objects (no type)": ("", b"{}\n"),
    "one line without an end (no type)": ("", b"data: {"),
    "lines of one object (JSON)": (JSON, b'{"a":\n'),
    "one line without an end (NDJSON)": (NDJSON, b" "),
    "empty objects (NDJSON)": (NDJSON, b"{}\n"),
    "empty lines (NDJSON)": (NDJSON, b"\n"),
    "empty objects (array of Gemini)": (JSON, b"{},"),
    "nested objects (array of Gemini)": (JSON, b'{"a":{},'),
    "a string without an end (array of Gemini)": (JSON, b'{"\\\\'),
    "numbers (array of Gemini)": (JSON, b"1,"),
    "one object without an end (JSON)": (JSON, b'{"a":'),
    "no frame (event stream of AWS)": (FRAMES, b"\0"),
}

Make = Callable[[int], Iterable[bytes]]


def bodies() -> dict[str, tuple[str, str, Make]]:
    """Return name → content type, content encoding and what makes a body of so many bytes."""
    made: dict[str, tuple[str, str, Make]] = {
        name: (kind, "", partial(_repeated, unit, is_array="Gemini" in name))
        for name, (kind, unit) in (
            UNITS | {"empty frames (event stream of AWS)": (FRAMES, _frame())}
        ).items()
    }
    for encoding in ("gzip", "deflate", "br", "zstd"):
        made[f"spaces ({encoding})"] = (SSE, encoding, partial(_spaces, encoding))
    made["empty frames (zstd)"] = (SSE, "zstd", _empty_frames)
    made["what follows the end (gzip)"] = (SSE, "gzip", _garbage)
    return made


def _spaces(encoding: str, size: int) -> Iterator[bytes]:
    return _cut(_encoded(b" " * size, encoding))


def _empty_frames(size: int) -> Iterator[bytes]:
    frame = _encoded(b"", "zstd")
    return _cut(frame * (size // len(frame)))


def _garbage(size: int) -> Iterator[bytes]:
    return _cut(_encoded(b"a", "gzip") + b"\0" * size)


def _frame() -> bytes:
    import struct
    import zlib

    head = struct.pack(">II", 16, 0)
    head += struct.pack(">I", zlib.crc32(head))
    return head + struct.pack(">I", zlib.crc32(head))


def _repeated(unit: bytes, size: int, *, is_array: bool) -> Iterator[bytes]:
    piece = unit * (PIECE // len(unit))
    if is_array:
        yield b"["
    for _ in range(max(1, size // PIECE)):
        yield piece


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def _encoded(data: bytes, encoding: str) -> bytes:
    import gzip
    import zlib

    import brotli
    import zstandard

    ways: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda data: brotli.compress(data, quality=5),
        "zstd": zstandard.ZstdCompressor().compress,
    }
    return ways[encoding](data)


def body(kind: str, encoding: str, pieces: Iterable[bytes], host: str) -> tuple[float, str]:
    """Return the CPU seconds that capture needs for a body, and why its usage is unknown."""
    from usage_tracking.capture.exchange import begin, trial_events

    events: list[Any] = []
    token = trial_events.set(events)
    path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    if "generativelanguage" not in host:
        path = "/v1/chat/completions"
    try:
        exchange = begin("httpx", "POST", host, None, path, b'{"model": "m"}')
    finally:
        trial_events.reset(token)
    if exchange is None:
        raise RuntimeError("the request opened no exchange")
    exchange.answered(200, {"content-type": kind, "content-encoding": encoding})
    spent = 0.0
    for piece in pieces:
        begun = time.process_time()
        exchange.chunk(piece)
        spent += time.process_time() - begun
    begun = time.process_time()
    exchange.end()
    spent += time.process_time() - begun
    return spent, str(events[0].metadata.get("unknown", ""))


def streams(size: int) -> Iterator[tuple[str, float, float, float, str]]:
    """Yield each body, its seconds per MB at two sizes, the MB held, and why usage is unknown."""
    for name, (kind, encoding, make) in bodies().items():
        host = "generativelanguage.googleapis.com" if "Gemini" in name else "api.openai.com"
        once, _ = body(kind, encoding, make(size), host)
        twice, said = body(kind, encoding, make(2 * size), host)
        pieces = list(make(2 * size))
        tracemalloc.start()
        body(kind, encoding, pieces, host)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        yield name, once / size * 1e6, twice / (2 * size) * 1e6, most / 1e6, said


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile")
    parser.add_argument("--size", type=int, default=SIZE, help="bytes of the smaller text")
    size = parser.parse_args().size
    sys.stdout.write(f"| pattern | s/MB of {size / 1e6:g} MB | s/MB of {size / 5e5:g} MB |\n")
    sys.stdout.write("| --- | ---: | ---: |\n")
    for name, once, twice in patterns(size):
        sys.stdout.write(f"| {name} | {once:.2f} | {twice:.2f} |\n")
        sys.stdout.flush()
    large = 16 * size
    sys.stdout.write(
        f"\n| body | s/MB of {large / 1e6:g} MB | s/MB of {large / 5e5:g} MB | MB held | unknown |"
        "\n| --- | ---: | ---: | ---: | --- |\n"
    )
    for name, once, twice, held, said in streams(large):
        sys.stdout.write(f"| {name} | {once:.4f} | {twice:.4f} | {held:.1f} | {said} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    from benchmarks.site import web_site

    with web_site():
        main()
