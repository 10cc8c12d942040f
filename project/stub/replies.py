"""Build the reply to a question, as a provider sends it or as directives demand."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from dataclasses import replace

from project.stub import assistant
from project.stub.exchange import Ask, Part, Question, Reply
from project.stub.orders import BadOrderError, Orders, find_orders
from project.stub.wire import Endpoint, compact

# For these, providers send a pause; a short one keeps tests of retries short.
_RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_EVENTS_BEFORE_ERROR = 5
_MESSAGES = {
    401: "Incorrect API key provided.",
    404: "The requested model does not exist or you do not have access to it.",
    429: "Rate limit reached: a directive requested status 429. Please try again in 20ms.",
    529: "Overloaded",
}


def orders_of(endpoint: Endpoint, question: Question, times_asked: int) -> Orders:
    """Return the directives that apply now. Raises BadOrderError if one is not supported."""
    orders = find_orders(question.spoken)
    complaint = endpoint.unsupported(orders)
    if complaint:
        raise BadOrderError(complaint)
    if orders.times is not None and times_asked > orders.times:
        return _well_behaved(orders)
    return orders


def reply_to(endpoint: Endpoint, question: Question, orders: Orders) -> Reply:
    """Return the reply, whose parts are built while they are sent."""
    if orders.leak:
        return error_reply(endpoint, orders.status or 401, endpoint.key_error(orders.leak))
    if orders.status:
        message = _MESSAGES.get(orders.status, f"A directive requested status {orders.status}.")
        return error_reply(endpoint, orders.status, message)
    ask = ask_for(endpoint, question, orders)
    reply = Reply(
        status=200,
        content_type=endpoint.content_type(question),
        parts=_as_gateways_send(_parts(endpoint, ask), orders),
        streamed=question.stream,
        model=ask.model,
        response_id=ask.response_id,
        headers=endpoint.answer_headers(ask),
        charge=endpoint.charge(ask),
    )
    if orders.type:
        reply = replace(reply, content_type="" if orders.type == "none" else orders.type)
    if orders.garbage or (orders.error_in_stream and not question.stream):
        return replace(reply, model="", response_id="")
    return reply


def error_reply(endpoint: Endpoint, status: int, message: str) -> Reply:
    """Return an error in the provider's format."""
    headers = endpoint.error_headers(status)
    if status in _RETRYABLE:
        headers["retry-after-ms"] = "20"
    body = compact(endpoint.error(status, message))
    return Reply(status, "application/json", [Part(body, failed=True)], headers=headers)


def ask_for(endpoint: Endpoint, question: Question, orders: Orders) -> Ask:
    """Return a question with everything needed to answer it."""
    text = assistant.answer_to(question.prompt, orders)
    return Ask(
        question=question,
        orders=orders,
        model=endpoint.answered_model(question.model),
        text=text,
        response_id=question.response_id or endpoint.response_id(),
        prompt_tokens=assistant.prompt_tokens(question.prompt, orders),
        completion_tokens=assistant.completion_tokens(question.prompt, text, orders),
        created=int(time.time()),
    )


def _parts(endpoint: Endpoint, ask: Ask) -> Iterator[Part]:
    orders, question = ask.orders, ask.question
    message = "The server had an error while processing your request."
    if orders.garbage:
        yield Part(endpoint.garbage(question))
    elif not orders.error_in_stream:
        yield from endpoint.stream(ask) if question.stream else [endpoint.plain(ask)]
    elif question.stream:
        started = list(endpoint.stream(ask))[:-2]
        yield from started[:_EVENTS_BEFORE_ERROR]
        yield from endpoint.stream_error(ask, message)
    else:
        yield Part(compact(endpoint.error(500, message)), failed=True)


def _as_gateways_send(parts: Iterator[Part], orders: Orders) -> Iterator[Part]:
    """Yield the parts with the byte order mark and the ends of lines that directives demand."""
    start = codecs.BOM_UTF8 if orders.bom else b""
    newline = {"": b"\n", "cr": b"\r", "crlf": b"\r\n"}[orders.ends]
    for part in parts:
        data = part.data.replace(b"\n", newline) if orders.ends else part.data
        yield replace(part, data=start + data)
        start = b""


def _well_behaved(orders: Orders) -> Orders:
    return replace(
        orders,
        status=None,
        delay=0.0,
        cut=None,
        garbage=False,
        error_in_stream=False,
        leak="",
    )
