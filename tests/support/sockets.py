"""A provider of websockets: OpenAI Realtime and Responses, and Gemini Live.

It answers as the providers document it, and keeps a journal of what it would bill. The text of a
request says what happens:

- `Say nothing`: no answer. After the beginning of one, `Break off` aborts the connection, `Hang up`
  closes the socket with an error code, and `Leave` closes it regularly
- `Fail`: a response that failed. `Refuse`: an error event. `Interrupt`: a response cut short
- `Wait`: its answer begins at once and ends after that of the next request
- `Late`: of Live, the counts come after the end of the turn. `Tool`: a tool is called first

Speech ends, for the provider's voice activity detection, with the bytes `END`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

AUDIO = base64.b64encode(bytes(range(256)) * 12).decode()
SPEECH = base64.b64encode(b"\0" * 99 + b"END").decode()
#: What is billed for a transcription that has a price by the second.
SECONDS = 2.5


@dataclass
class Billed:
    """What the provider bills for one response.

    Attributes:
        operation: What the model did.
        model: The model that answered.
        prompt: The text that was asked, "" for speech.
        counts: Input and output tokens; None if the client does not get them.
        failed: Whether the client gets a failure.
    """

    operation: str
    model: str
    prompt: str
    counts: tuple[int, int] | None = None
    failed: bool = False


@dataclass
class Connection:
    """One socket, with every message in the order in which it passed."""

    path: str
    sent: list[str] = field(default_factory=list)
    received: list[str | bytes] = field(default_factory=list)


class SocketProvider:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self.journal: list[Billed] = []
        self.connections: list[Connection] = []
        self.port = 0
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="socket-provider", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()

    @property
    def host_port(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"http://{self.host_port}/openai/v1"

    @property
    def google_url(self) -> str:
        return f"http://{self.host_port}/google"

    def socket_url(self, path: str) -> str:
        return f"ws://{self.host_port}{path}"

    def clear(self) -> None:
        self.journal.clear()
        self.connections.clear()

    def next_counts(self) -> tuple[int, int]:
        number = next(self._numbers)
        return 1000 + number, 100 + number

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with serve(
            *(self._answer, "127.0.0.1", 0),
            max_size=None,
            close_timeout=1,
            select_subprotocol=_realtime,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    async def _answer(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        connection = Connection(url.path)
        self.connections.append(connection)
        kind = next((kind for ending, kind in _KINDS.items() if ending in url.path), _Echo)
        model = parse_qs(url.query).get("model", [""])[0]
        conversation = kind(self, socket, connection, model)
        try:
            await conversation.begin()
            async for message in socket:
                connection.received.append(message)
                await conversation.take(message)
        except ConnectionClosed:
            pass


def _realtime(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


class _Conversation:
    """What the server says on one socket."""

    operation = "chat"

    def __init__(
        self, provider: SocketProvider, socket: ServerConnection, seen: Connection, model: str
    ) -> None:
        self.provider, self.socket, self.seen, self.model = provider, socket, seen, model

    async def begin(self) -> None:
        """Greet the client."""

    async def take(self, message: str | bytes) -> None:
        """Answer a message."""
        raise NotImplementedError

    async def say(self, message: dict[str, Any]) -> None:
        text = json.dumps(message)
        self.seen.sent.append(text)
        await self.socket.send(text)

    def bill(self, prompt: str, **changes: Any) -> Billed:
        billed = Billed(self.operation, self.model, prompt, **changes)
        self.provider.journal.append(billed)
        return billed

    async def leaves(self, prompt: str, billed: Billed) -> bool:
        """Return whether the socket ends here, as `prompt` says."""
        if prompt.startswith("Break off"):
            billed.failed = True
            self.socket.transport.abort()
        elif prompt.startswith("Hang up"):
            billed.failed = True
            await self.socket.close(1011, "overloaded")
        elif prompt.startswith("Leave"):
            await self.socket.close()
        else:
            return False
        return True


class _Echo(_Conversation):
    """Another service, which happens to speak JSON."""

    async def take(self, message: str | bytes) -> None:
        self.seen.sent.append(message if isinstance(message, str) else message.decode())
        await self.socket.send(message)


class _Responses(_Conversation):
    """OpenAI Responses."""

    object = "response"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._waiting: list[tuple[dict[str, Any], Billed, dict[str, Any]]] = []

    async def take(self, message: str | bytes) -> None:
        event = json.loads(message)
        if event["type"] == "response.create":
            self.model = event.get("model") or self.model
            lane = {"stream_id": event["stream_id"]} if "stream_id" in event else {}
            await self.respond(event["input"], event, lane)

    async def respond(self, prompt: str, asked: dict[str, Any], lane: dict[str, Any]) -> None:
        billed = self.bill(prompt)
        if prompt.startswith("Say nothing"):
            return
        if prompt.startswith("Refuse"):
            billed.failed = True
            await self.refuse(asked, lane)
            return
        response: dict[str, Any] = {
            "id": f"resp_{next(self.provider._numbers)}",
            "object": self.object,
            "status": "in_progress",
            "output": [],
            "metadata": asked.get("metadata"),
        }
        response |= self.extra()
        await self.say({"type": "response.created", "response": response, **lane})
        for _ in range(3):
            await self.delta(response, lane)
        if await self.leaves(prompt, billed):
            return
        if prompt.startswith("Wait"):
            self._waiting.append((response, billed, lane))
            return
        await self.finish(prompt, response, billed, lane)
        while self._waiting:
            await self.finish("", *self._waiting.pop())

    async def refuse(self, asked: dict[str, Any], lane: dict[str, Any]) -> None:
        error = {"type": "invalid_request_error", "code": "bad", "message": "No."}
        await self.say({"type": "error", "status": 400, "error": error, **lane})

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "tools": []}

    async def delta(self, response: dict[str, Any], lane: dict[str, Any]) -> None:
        await self.say({"type": "response.output_text.delta", "delta": '"type": "error"', **lane})

    async def finish(
        self, prompt: str, response: dict[str, Any], billed: Billed, lane: dict[str, Any]
    ) -> None:
        billed.counts = given, made = self.provider.next_counts()
        ends = {"Fail": "failed", "Interrupt": "incomplete"}
        status = ends.get(prompt.split(" ")[0], "completed")
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 10},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": given + made,
        }
        response = response | {"status": status, "usage": usage}
        if status == "failed":
            billed.failed = True
            response["error"] = {"code": "server_error", "message": "It failed."}
        await self.say({"type": f"response.{status}", "response": response, **lane})


class _Realtime(_Responses):
    """OpenAI Realtime."""

    object = "realtime.response"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._text = self._transcriber = ""

    async def say(self, message: dict[str, Any]) -> None:
        await super().say({"event_id": f"event_{len(self.seen.sent)}"} | message)

    async def begin(self) -> None:
        session = {"object": "realtime.session", "type": "realtime", "model": self.model}
        await self.say({"type": "session.created", "session": session})

    async def take(self, message: str | bytes) -> None:
        event = json.loads(message)
        kind = event["type"]
        if kind == "session.update":
            heard = event["session"].get("audio", {}).get("input", {}).get("transcription") or {}
            self._transcriber = heard.get("model", "")
            await self.say({"type": "session.updated", "session": event["session"]})
        elif kind == "conversation.item.create":
            self._text = event["item"]["content"][0]["text"]
            await self.say({"type": "conversation.item.added", "item": event["item"]})
        elif kind == "response.create":
            asked = event.get("response") or {}
            prompt = asked.get("instructions") or self._text
            await self.respond(prompt, asked | {"event_id": event.get("event_id")}, {})
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.append" and event["audio"].endswith(SPEECH[-8:]):
            await self._commit()
            await self.respond("", {}, {})

    async def _commit(self) -> None:
        item = f"item_{next(self.provider._numbers)}"
        await self.say({"type": "input_audio_buffer.committed", "item_id": item})
        if not self._transcriber:
            return
        billed = Billed("transcription", self._transcriber, "")
        self.provider.journal.append(billed)
        usage: dict[str, Any] = {"type": "duration", "seconds": SECONDS}
        if self._transcriber != "whisper-1":
            billed.counts = given, made = self.provider.next_counts()
            details = {"text_tokens": 0, "audio_tokens": given}
            usage = {"type": "tokens", "input_tokens": given, "output_tokens": made}
            usage |= {"total_tokens": given + made, "input_token_details": details}
        kind = "conversation.item.input_audio_transcription"
        await self.say({"type": f"{kind}.delta", "item_id": item, "delta": "He"})
        told = {"item_id": item, "content_index": 0, "transcript": "Hello", "usage": usage}
        await self.say({"type": f"{kind}.completed", **told})

    async def refuse(self, asked: dict[str, Any], lane: dict[str, Any]) -> None:
        error = {"type": "invalid_request_error", "code": "bad", "message": "No."}
        error["event_id"] = asked["event_id"]
        await self.say({"type": "error", "error": error})

    def extra(self) -> dict[str, Any]:
        return {}

    async def delta(self, response: dict[str, Any], lane: dict[str, Any]) -> None:
        told = {"response_id": response["id"], "item_id": "item_0", "delta": AUDIO}
        told |= {"output_index": 0, "content_index": 0}
        await self.say({"type": "response.output_audio.delta", **told})

    async def finish(
        self, prompt: str, response: dict[str, Any], billed: Billed, lane: dict[str, Any]
    ) -> None:
        billed.counts = given, made = self.provider.next_counts()
        ends = {"Fail": "failed", "Interrupt": "cancelled"}
        status = ends.get(prompt.split(" ")[0], "completed")
        response = response | {"status": status, "usage": realtime_usage(given, made)}
        if status == "failed":
            billed.failed = True
            error = {"type": "server_error", "code": "oops"}
            response["status_details"] = {"type": "failed", "error": error}
        await self.say({"type": "response.done", "response": response})


def realtime_usage(given: int, made: int) -> dict[str, Any]:
    """Return the usage of a response that was half spoken."""
    return {
        "total_tokens": given + made,
        "input_tokens": given,
        "output_tokens": made,
        "input_token_details": {
            "text_tokens": given - 200,
            "audio_tokens": 200,
            "cached_tokens": 50,
            "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 0},
        },
        "output_token_details": {"text_tokens": made - 60, "audio_tokens": 60},
    }


class _Live(_Conversation):
    """Gemini Live."""

    operation = "generate_content"

    async def take(self, message: str | bytes) -> None:
        event = json.loads(message)
        if setup := event.get("setup"):
            self.model = setup["model"].rpartition("/")[2]
            await self.say({"setupComplete": {}})
        content = event.get("clientContent") or event.get("client_content")
        heard = event.get("realtimeInput") or event.get("realtime_input")
        if content and content.get("turnComplete", content.get("turn_complete")):
            await self._respond(content["turns"][-1]["parts"][0]["text"])
        elif heard and (text := heard.get("text")):
            await self._respond(text)
        elif heard and heard["audio"]["data"].endswith(SPEECH[-8:]):
            await self.say({"serverContent": {"inputTranscription": {"text": "Hello"}}})
            await self._respond("")
        elif "toolResponse" in event or "tool_response" in event:
            await self._finish("", self._billed)

    async def _respond(self, prompt: str) -> None:
        self._billed = billed = self.bill(prompt)
        if prompt.startswith("Say nothing"):
            return
        counts = self.provider.next_counts()
        for part in (1, 2):
            usage = _live_usage(counts[0], counts[1] // 3 * part)
            await self.say({"serverContent": {"modelTurn": _SPOKEN}, "usageMetadata": usage})
        if await self.leaves(prompt, billed):
            return
        billed.counts = counts
        if prompt.startswith("Tool"):
            call = {"id": "1", "name": "look", "args": {"error": "none", "turnComplete": "true"}}
            await self.say({"toolCall": {"functionCalls": [call]}})
        else:
            await self._finish(prompt, billed)

    async def _finish(self, prompt: str, billed: Billed) -> None:
        assert billed.counts is not None
        usage = {"usageMetadata": _live_usage(*billed.counts)}
        over = "interrupted" if prompt.startswith("Interrupt") else "generationComplete"
        await self.say({"serverContent": {over: True}})
        late = prompt.startswith("Late")
        await self.say({"serverContent": {"turnComplete": True}} | ({} if late else usage))
        if late:
            await self.say(usage)


_SPOKEN = {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}}]}


def _live_usage(given: int, made: int) -> dict[str, Any]:
    return {
        "promptTokenCount": given,
        "responseTokenCount": made,
        "totalTokenCount": given + made,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": made}],
    }


class _Spoken(_Conversation):
    """OpenAI Live."""

    async def take(self, message: str | bytes) -> None:
        event = json.loads(message)
        if event["type"] == "session.start":
            self.model = event["session"]["model"]
            self._billed = self.bill("")
            await self.say({"type": "session.started", "session": event["session"]})
        elif event["type"] == "session.input_audio.append":
            await self._delegate()
            seconds = {"seconds": SECONDS / 2}
            await self.say({"type": "session.usage.updated", "usage": seconds})
        elif event["type"] == "session.close":
            told = {"session": {"model": self.model}, "usage": {"seconds": SECONDS}}
            await self.say({"type": "session.closed", "reason": "close_requested", **told})

    async def _delegate(self) -> None:
        given, made = self.provider.next_counts()
        response = {"id": f"resp_{given}", "object": "response", "model": "gpt-5.1"}
        self.provider.journal.append(Billed("chat", "gpt-5.1", "", (given, made)))
        usage = {"usage": {"input_tokens": given, "output_tokens": made}}
        for kind, changes in (("created", {}), ("completed", {"status": "completed"} | usage)):
            event = {"type": f"response.{kind}", "response": response | changes}
            await self.say({"type": "response.event", "event_id": "e", "event": event})


_KINDS: dict[str, type[_Conversation]] = {
    "/live/sessions": _Spoken,
    "/realtime": _Realtime,
    "/responses": _Responses,
    "BidiGenerateContent": _Live,
}
