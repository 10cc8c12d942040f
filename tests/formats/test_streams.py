"""Streams are split into their events, wherever the network cuts them."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from usage_tracking.formats import READERS, streams
from usage_tracking.formats.batches.reader import ResultsReader
from usage_tracking.formats.excerpts import Excerpt, LongEvent
from usage_tracking.formats.reader import Reader, error_text
from usage_tracking.formats.streams import (
    EventStream,
    JSONArray,
    Lines,
    ServerSentEvents,
    Splitter,
)

#: How fast examples are made depends on the machine, not on the splitters.
thorough = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[n : n + size] for n in range(0, len(data), size)]


def events_of(splitter: Splitter, pieces: list[bytes]) -> list[bytes]:
    """Return the events that are not too long."""
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return [event for event in [*events, *splitter.end()] if not isinstance(event, LongEvent)]


places = st.lists(st.integers(0, 10_000), max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.dictionaries(
    st.sampled_from(["usage", "text", "{", '"']),
    st.recursive(
        texts | st.integers() | st.sampled_from(['"}{', '\\"', "\\", "\\\\", "]},[{", "\\u007b"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


class TestServerSentEvents:
    @pytest.mark.slow
    @thorough
    @given(
        values=st.lists(values, max_size=6),
        places=places,
        newline=st.sampled_from(["\n", "\r\n", "\r"]),
        space=st.sampled_from(["", " "]),
        noise=st.lists(
            st.sampled_from([": comment", "event: ping", "id: 7", "retry: 100", ": "]), max_size=2
        ),
    )
    def test_any_cut_gives_the_same_events(
        self,
        values: list[dict[str, Any]],
        places: list[int],
        newline: str,
        space: str,
        noise: list[str],
    ) -> None:
        told = [json.dumps(value, ensure_ascii=False) for value in values]
        blocks = [[*noise, f"data:{space}{data}", "", ""] for data in told]
        wire = "".join(newline.join(block) for block in blocks).encode()

        events = events_of(ServerSentEvents(), cut(wire, places))

        assert [json.loads(event) for event in events] == values

    def test_lines_are_read_as_in_the_standard(self) -> None:
        standard: list[tuple[bytes, list[bytes]]] = [
            (b"", []),
            (b"\n\n\n", []),
            (b": only a comment\n\n", []),
            (b"event: message_stop\n\n", []),
            (b"data: 1\n\ndata: 2\n\n", [b"1", b"2"]),
            (b"data:1\n\n", [b"1"]),
            (b"data: {\ndata: }\n\n", [b"{\n}"]),  # one event of two lines
            (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"1", b"2"]),
            (b"data: 1", [b"1"]),  # the end of the stream ends the event
            (b"data: 1\n", [b"1"]),
            (b"data: 1\n\ndata: 2\n", [b"1", b"2"]),
            (b"database: 1\n\n", []),
            (b"event: a\ndata: 1\nid: 7\n\n", [b"1"]),
            (b"data: [DONE]\n\n", [b"[DONE]"]),
        ]
        wrong = []
        for (wire, events), size in product(standard, (1, 2, 3, 1000)):
            found = events_of(ServerSentEvents(), pieces_of(wire, size))
            if found != events:
                wrong.append((wire, size, found))

        assert wrong == []

    @thorough
    @given(sizes=st.lists(st.integers(0, 150), max_size=12), places=places)
    @example(sizes=[3, 150], places=[])
    @example(sizes=[3, 150, 3], places=[20, 40])
    def test_huge_event_is_passed_over_and_the_others_are_not(
        self, sizes: list[int], places: list[int]
    ) -> None:
        limit = 100
        told = [json.dumps({"n": n, "text": "x" * size}).encode() for n, size in enumerate(sizes)]
        wire = b"".join(b"data: " + data + b"\n\n" for data in told)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", limit)
            events = events_of(ServerSentEvents(), cut(wire, places))

        # In one piece a huge event may come through, never a part of it.
        assert set(events) <= set(told)
        assert events == [event for event in told if event in events]
        assert [event for event in told if len(event) + len(b"data: \r") <= limit] == [
            event for event in events if len(event) + len(b"data: \r") <= limit
        ]

    @thorough
    @given(
        numbers=st.lists(st.integers(0, 9), max_size=30),
        places=places,
        newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
        stretch=st.integers(0, 60),
    )
    def test_every_wanted_event_comes_whatever_is_passed_over(
        self, numbers: list[int], places: list[int], newline: bytes, stretch: int
    ) -> None:
        told = [b'{"at":%d,"n":%d}' % (at, n) for at, n in enumerate(numbers)]
        wire = b"".join(b"data: " + data + newline * 2 for data in told)
        splitter = ServerSentEvents()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "_STRETCH", stretch)
            events = [
                event
                for piece in cut(wire, places)
                for event in splitter.feed(piece, lambda events: b'"n":7' in events)
            ]

        assert [e for e in events if b'"n":7' in e] == [e for e in told if b'"n":7' in e]
        assert events == [event for event in told if event in events]  # in order, none twice

    def test_only_the_end_of_what_is_not_wanted_is_cut_up(self) -> None:
        event = b'{"word": 1}'
        wire = (b"data: " + event + b"\n\n") * 1000

        events = list(ServerSentEvents().feed(wire, lambda events: b"usage" in events))

        assert len(b"".join(events)) <= streams._STRETCH

    def test_huge_line_is_not_kept(self) -> None:
        splitter = ServerSentEvents()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", 1000)
            list(splitter.feed(b"data: "))
            for _ in range(100):
                assert list(splitter.feed(b"x" * 100)) == []
                assert _kept(splitter) < 3000
            long, event = splitter.feed(b"x\n\ndata: 1\n\n")
            assert isinstance(long, LongEvent)
            assert event == b"1"

    def test_endless_lines_of_one_event_are_not_kept(self) -> None:
        splitter = ServerSentEvents()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", 1000)
            for _ in range(100):
                assert list(splitter.feed(b"data: " + b"x" * 100 + b"\n")) == []
                assert _kept(splitter) < 3000
            (long,) = splitter.feed(b"\n")
            assert isinstance(long, LongEvent)
            assert list(splitter.feed(b"data: 1\n\n")) == [b"1"]


class TestJSONArray:
    @pytest.mark.slow
    @thorough
    @given(
        values=st.lists(values, max_size=6),
        places=places,
        indent=st.sampled_from([None, 2]),
        glue=st.sampled_from([",", ",\r\n", " , "]),
    )
    @example(values=[{"text": '"}{\\'}], places=[*range(40)], indent=None, glue=",")
    def test_any_cut_gives_the_same_events(
        self, values: list[dict[str, Any]], places: list[int], indent: int | None, glue: str
    ) -> None:
        told = [json.dumps(value, ensure_ascii=False, indent=indent) for value in values]
        wire = f"[{glue.join(told)}\n]\n".encode()

        events = events_of(JSONArray(), cut(wire, places))

        assert [json.loads(event) for event in events] == values

    def test_braces_and_escapes_in_strings_are_text(self) -> None:
        texts = [
            "}",
            "{",
            '"',
            '\\"',
            "\\",
            "\\\\",
            '"}]',
            "{{{",
            "}}}",
            '\\\\"}',
            "\u2028",
            "🙂",
            '{"a":',
        ]
        wrong = []
        for text, size in product(texts, (1, 2, 3, 7, 1000)):
            value = {"text": text, text: [text, {"inner": text}]}
            wire = f"[{json.dumps(value)},\r\n{json.dumps(value, ensure_ascii=False)}]".encode()
            found = [json.loads(event) for event in events_of(JSONArray(), pieces_of(wire, size))]
            if found != [value] * 2:
                wrong.append((text, size, found))

        assert wrong == []

    @thorough
    @given(
        sizes=st.lists(st.integers(0, 150), max_size=12),
        places=places,
        filler=st.sampled_from(["x", "}", "{", '"', "\\", "é"]),
    )
    @example(sizes=[3, 150], places=[100], filler="x")
    @example(sizes=[3, 150, 3], places=[20, 140, 160], filler="}")
    def test_huge_event_is_passed_over_and_the_others_are_not(
        self, sizes: list[int], places: list[int], filler: str
    ) -> None:
        limit = 100
        told = [
            json.dumps({"n": n, "text": filler * size, "end": {"usageMetadata": n}}).encode()
            for n, size in enumerate(sizes)
        ]
        wire = b"[" + b",\r\n".join(told) + b"]"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", limit)
            events = events_of(JSONArray(), cut(wire, places))

        assert set(events) <= set(told)
        assert events == [event for event in told if event in events]
        assert [event for event in told if len(event) <= limit] == [
            event for event in events if len(event) <= limit
        ]

    def test_huge_event_is_not_kept(self) -> None:
        splitter = JSONArray()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", 1000)
            list(splitter.feed(b'[{"image": "'))
            for _ in range(100):
                assert list(splitter.feed(b"x" * 100)) == []
                assert _kept(splitter) < 3000
            long, event = splitter.feed(b'"},{"n": 1}]')
            assert isinstance(long, LongEvent)
            assert event == b'{"n": 1}'

    def test_array_without_objects_has_no_events(self) -> None:
        wrong = []
        for wire in [b"", b"[]", b"[\n]\n", b"[1, 2]", b']}{"', b"no json at all"]:
            if events := events_of(JSONArray(), pieces_of(wire, 1)):
                wrong.append((wire, events))

        assert wrong == []

    def test_object_that_never_ends_is_not_an_event(self) -> None:
        assert events_of(JSONArray(), [b'[{"a": 1}, {"b": ']) == [b'{"a": 1}']


class TestLines:
    @pytest.mark.slow
    @thorough
    @given(
        values=st.lists(values, max_size=6),
        places=places,
        newline=st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
        is_closed=st.booleans(),
    )
    def test_any_cut_gives_the_same_events(
        self, values: list[dict[str, Any]], places: list[int], newline: str, is_closed: bool
    ) -> None:
        wire = newline.join(json.dumps(value, ensure_ascii=False) for value in values)
        wire += newline if is_closed else ""

        events = events_of(Lines(), cut(wire.encode(), places))

        assert [json.loads(event) for event in events] == values

    @pytest.mark.slow
    @thorough
    @given(sizes=st.lists(st.integers(0, 150), max_size=12), places=places)
    def test_huge_line_is_passed_over_and_the_others_are_not(
        self, sizes: list[int], places: list[int]
    ) -> None:
        limit = 100
        told = [json.dumps({"n": n, "text": "x" * size}).encode() for n, size in enumerate(sizes)]
        wire = b"".join(data + b"\n" for data in told)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", limit)
            events = events_of(Lines(), cut(wire, places))

        assert set(events) <= set(told)
        assert events == [event for event in told if event in events]
        assert [event for event in told if len(event) <= limit] == [
            event for event in events if len(event) <= limit
        ]

    def test_huge_line_is_not_kept(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", 1000)
            splitter = Lines()
            for _ in range(100):
                assert list(splitter.feed(b"x" * 100)) == []
                assert _kept(splitter) <= 1100
            long, event = splitter.feed(b"x\n1\n")
            assert isinstance(long, LongEvent)
            assert event == b"1"


def frame(
    payload: bytes, /, message_type: str = "event", headers: bytes = b"", **told: str
) -> bytes:
    """Return one frame as the specification defines it."""
    named = {":message-type": message_type}
    named |= {":" + name.replace("_", "-"): value for name, value in told.items()}
    for name, value in named.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07"
        headers += struct.pack(">H", len(value.encode())) + value.encode()
    start = struct.pack(">II", 12 + len(headers) + len(payload) + 4, len(headers))
    whole = start + struct.pack(">I", zlib.crc32(start)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


class TestEventStream:
    @pytest.mark.slow
    @thorough
    @given(values=st.lists(values, max_size=6), places=places)
    def test_any_cut_gives_the_same_events(
        self, values: list[dict[str, Any]], places: list[int]
    ) -> None:
        wire = b"".join(frame(json.dumps(value).encode(), event_type="chunk") for value in values)

        events = events_of(EventStream(), cut(wire, places))

        assert [json.loads(event) for event in events] == [{"chunk": value} for value in values]

    @pytest.mark.parametrize(
        ("wire", "event"),
        [
            (frame(b'{"a":1}', event_type="metadata"), {"metadata": {"a": 1}}),
            (frame(b"", event_type="messageStop"), {"messageStop": {}}),
            (
                frame(b'{"a":1}', event_type="chunk", content_type="application/json"),
                {"chunk": {"a": 1}},
            ),
            (frame(b"1", event_type='a"b'), {'a"b': 1}),
            (
                frame(
                    b'{"message":"Slow down"}', "exception", exception_type="throttlingException"
                ),
                {"error": {"type": "throttlingException", "message": "Slow down"}},
            ),
            (
                frame(b"no json", "exception", exception_type="throttlingException"),
                {"error": {"type": "throttlingException", "message": ""}},
            ),
            (
                frame(b"", "error", error_code="InternalError", error_message="An error"),
                {"error": {"type": "InternalError", "message": "An error"}},
            ),
            (frame(b"[1]", "exception"), {"error": {"type": "error", "message": ""}}),
        ],
    )
    def test_frame_is_one_object(self, wire: bytes, event: dict[str, Any]) -> None:
        assert [json.loads(told) for told in events_of(EventStream(), [wire])] == [event]

    def test_exception_is_an_error_to_the_readers(self) -> None:
        wire = frame(b'{"message":"Slow down"}', "exception", exception_type="throttlingException")
        (event,) = events_of(EventStream(), [wire])

        assert error_text(json.loads(event)) == "throttlingException: Slow down"

    def test_headers_of_every_type_are_passed_over(self) -> None:
        values = [b"", b"", b"1", b"12", b"1234", b"12345678", b"\x00\x031:2", b"\x00\x01x"]
        values += [b"12345678", b"1234567890123456"]
        headers = b"".join(b"\x01h" + bytes([kind]) + v for kind, v in enumerate(values))

        (event,) = events_of(EventStream(), [frame(b"1", headers=headers, event_type="a")])

        assert json.loads(event) == {"a": 1}

    @pytest.mark.slow
    @thorough
    @given(sizes=st.lists(st.integers(0, 300), max_size=12), places=places)
    @example(sizes=[300, 3], places=[40])
    def test_huge_frame_is_passed_over_and_the_others_are_not(
        self, sizes: list[int], places: list[int]
    ) -> None:
        limit = 200
        frames = [
            frame(json.dumps({"n": n, "text": "x" * size}).encode(), event_type="chunk")
            for n, size in enumerate(sizes)
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", limit)
            events = events_of(EventStream(), cut(b"".join(frames), places))

        assert [json.loads(event)["chunk"]["n"] for event in events] == [
            n for n, told in enumerate(frames) if len(told) <= limit
        ]

    def test_huge_frame_is_not_kept(self) -> None:
        splitter = EventStream()
        wire = frame(b"x" * 10_000, event_type="chunk")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streams, "MAX_EVENT", 1000)
            for n in range(0, len(wire), 100):
                assert list(splitter.feed(wire[n : n + 100])) == ([LongEvent()] if n == 0 else [])
                assert _kept(splitter) <= 1100
            assert list(splitter.feed(frame(b"1", event_type="a"))) == [b'{"a":1}']

    def test_damaged_frame_is_an_event_that_no_reader_can_read(self) -> None:
        readable = []
        for place in (0, 5, 9, 12, 30, -1):
            wire = bytearray(frame(b'{"a":1}', event_type="chunk"))
            wire[place] ^= 0x40
            (event,) = events_of(EventStream(), [bytes(wire)])
            with contextlib.suppress(UnicodeDecodeError):
                readable.append((place, json.loads(event)))

        assert readable == []

    def test_only_what_is_wanted_comes(self) -> None:
        wire = frame(b"1", event_type="a") + frame(b"2", event_type="b")

        events = list(EventStream().feed(wire, lambda event: b'"b"' in event))

        assert events == [b'{"b":2}']


@thorough
@given(wire=st.binary(max_size=2000), places=places)
@example(wire=struct.pack(">III", 16, 0, zlib.crc32(struct.pack(">II", 16, 0))) * 3, places=[])
@pytest.mark.parametrize("kind", [ServerSentEvents, JSONArray, Lines, EventStream])
def test_garbage_raises_nothing_and_is_not_kept(
    kind: Callable[[], Splitter], wire: bytes, places: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAX_EVENT", 200)
        splitter = kind()
        for piece in cut(wire, places):
            list(splitter.feed(piece))
            assert _kept(splitter) <= 2 * 200 + len(piece)
        list(splitter.end())


@thorough
@given(numbers=st.lists(st.integers(0, 9), max_size=30), places=places)
@pytest.mark.parametrize("kind", [JSONArray, Lines, EventStream])
def test_what_is_not_wanted_is_left_out(
    kind: Callable[[], Splitter], numbers: list[int], places: list[int]
) -> None:
    told = [b'{"at":%d,"n":%d}' % (at, n) for at, n in enumerate(numbers)]
    wire = b"\n".join([*told, b""])
    if kind is EventStream:
        wire = b"".join(frame(event, event_type="a") for event in told)
    splitter = kind()

    events = [
        event
        for piece in cut(wire, places)
        for event in splitter.feed(piece, lambda event: b'"n":7' in event)
    ]

    assert len(events) == numbers.count(7)


def _kept(splitter: object) -> int:
    """Return how many bytes a splitter holds."""
    held = 0
    for value in vars(splitter).values():
        if isinstance(value, (bytes, bytearray)):
            held += len(value)
        elif isinstance(value, list):
            held += sum(map(len, value))
        elif isinstance(value, Excerpt):
            held += len(value.content)
    return held


class TestHostile:
    """No stream is held beyond its limit, and none is read repeatedly."""

    @pytest.mark.parametrize(
        ("splitter", "unit"),
        [
            (ServerSentEvents, b"a"),
            (ServerSentEvents, b"data:"),
            (ServerSentEvents, b"data:\n"),
            (ServerSentEvents, b"data:a\n"),
            (ServerSentEvents, b"\n"),
            (ServerSentEvents, b"\r\n"),
            (Lines, b"a"),
            (Lines, b" "),
            (Lines, b"\n"),
            (JSONArray, b"{},"),
            (JSONArray, b"1,"),
            (JSONArray, b'{"a":'),
            (JSONArray, b'{"\\\\'),
            (JSONArray, b'"\\"'),
            (JSONArray, b"}"),
            (EventStream, b"\0"),
        ],
    )
    def test_what_is_held_is_bounded(self, splitter: type[Splitter], unit: bytes) -> None:
        # Also where each piece ends in the middle of an escape.
        for size in (1000, 999, 1001):
            piece = (b"[" if splitter is JSONArray else b"") + unit * size
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(streams, "MAX_EVENT", 10_000)
                patch.setattr(streams, "MAX_LINES", 100)
                split = splitter()
                for _ in range(30):
                    list(split.feed(piece, lambda events: False))
                    assert _held(split) <= 10_000 + 2 * len(piece)
                    piece = unit * size

    def test_marks_that_do_not_count_are_passed_at_once(self) -> None:
        asked: list[int] = []
        split = JSONArray()

        def wanted(events: bytes) -> bool:
            asked.append(len(events))
            return False

        wire = b'[{"a": "' + b'\\"{}' * 10_000 + b'"}, ' + b"{}, " * 10_000 + b'{"b": 1}]'
        assert list(split.feed(wire, wanted)) == []
        assert asked == [40_009, 40_002, 8]

    def test_blank_lines_are_passed_at_once(self) -> None:
        split = ServerSentEvents()

        assert list(split.feed(b"data: 1" + b"\n" * 10_000 + b"data: 2" + b"\r\n" * 9)) == [
            b"1",
            b"2",
        ]

    @pytest.mark.parametrize(
        "kind",
        [
            kind
            for kind in dict.fromkeys(READERS.values())
            # In the results of a batch, each line has a shape of its own.
            if kind is not READERS["bedrock.invoke"] and not issubclass(kind, ResultsReader)
        ],
    )
    def test_events_of_no_shape_are_not_parsed_without_end(self, kind: type[Reader]) -> None:
        reader = kind()
        parsed = 0
        loads = json.loads

        def count(data: bytes) -> Any:
            nonlocal parsed
            parsed += 1
            return loads(data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("usage_tracking.formats.reader.json.loads", count)
            for _ in range(3000):
                reader.feed(b"{}")
        assert parsed <= 1000
        assert not reader.wants(b"{}")
        assert reader.wants(b'{"error": {"message": "no"}}')

    @pytest.mark.parametrize("kind", READERS.values())
    def test_names_of_megabytes_are_cut(self, kind: type[Reader]) -> None:
        long = "a" * 10**6
        names = [
            *("id", "model", "model_id", "modelVersion", "responseId", "service_tier", "object"),
            *("message", "detail", "error", "generation_id", "version", "status"),
        ]
        reader = kind()
        reader.body(dict.fromkeys(names, long))
        reader.body({"error": {"message": long, "type": long, "code": long}})
        reader.event({"type": "error", "message": long})

        kept = [reader.model, reader.response_id, reader.error, reader.service_tier]
        assert max(map(len, kept)) <= 2 * 4000 + 2


def _held(split: Splitter) -> int:
    held = 0
    for value in vars(split).values():
        if isinstance(value, (bytes, bytearray)):
            held += len(value)
        elif isinstance(value, list):
            held += sum(len(item) + 50 for item in value)
        elif isinstance(value, Excerpt):
            held += len(value.content)
    return held
