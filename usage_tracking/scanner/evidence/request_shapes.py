"""What a call of a method looks like if the method sends its arguments to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..inference.ai_names import is_prompt
from ..inference.engine import Inference
from ..program import Ref, last_name
from ..values import NOTHING, Items, Table, Text, Values, texts_in

#: Methods of a client that take a prompt or messages.
GENERATING = {
    *("generate", "agenerate", "complete", "acomplete", "completion", "acompletion", "ask", "aask"),
    *("generate_text", "agenerate_text", "generate_content", "generate_stream", "stream_generate"),
    *("generate_response", "get_completion", "stream_complete", "astream_complete"),
    *("create_completion", "acreate_completion", "get_response", "generate_reply", "respond"),
    *("text_completion", "generate_object", "generate_async", "complete_async", "prompt"),
}
_CHATTING = {
    *("chat", "achat", "chat_completion", "achat_completion", "stream_chat", "astream_chat"),
    *("chat_stream", "create_chat_completion", "acreate_chat_completion", "chat_async", "converse"),
    *("chat_completions", "create_message", "send_messages", "converse_stream"),
}
#: Methods of LangChain's models, and of others.
RUNNABLE = {
    *("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "predict", "apredict"),
    *("astream_events",),
}
_EMBEDDING = {
    *("embed", "aembed", "embed_text", "embed_texts", "aembed_text", "aembed_texts"),
    *("get_embedding", "get_embeddings", "aget_embedding", "create_embedding"),
    *("create_embeddings", "embed_batch", "generate_embedding", "generate_embeddings"),
}
_RANKING = {"rerank", "arerank"}
_MODERATING = {"moderate", "amoderate"}
#: Methods that almost only models and objects made from models have, with their kind.
UNMISTAKABLE = {
    **dict.fromkeys(
        (
            *("embed_query", "embed_documents", "aembed_query", "aembed_documents"),
            *("get_text_embedding", "aget_text_embedding", "get_text_embedding_batch"),
            *("aget_text_embedding_batch", "get_query_embedding", "aget_query_embedding"),
        ),
        "embeddings",
    ),
    **dict.fromkeys(("compress_documents", "acompress_documents"), "rerank"),
    **dict.fromkeys(("text_to_image", "image_to_image"), "image"),
    "text_to_video": "video",
    "automatic_speech_recognition": "transcription",
    **dict.fromkeys(
        (
            *("predict_messages", "apredict_messages", "generate_prompt", "agenerate_prompt"),
            *("structured_predict", "astructured_predict"),
            *("stream_structured_predict", "astream_structured_predict", "predict_and_call"),
            *("apredict_and_call", "astream_events", "get_chat_message_content"),
            *("get_chat_message_contents", "get_streaming_chat_message_contents"),
        ),
        "chat",
    ),
}
KINDS = {
    **dict.fromkeys(GENERATING, "completion"),
    **dict.fromkeys((*_CHATTING, *RUNNABLE), "chat"),
    **dict.fromkeys(_EMBEDDING, "embeddings"),
    **dict.fromkeys(_RANKING, "rerank"),
    **dict.fromkeys(_MODERATING, "moderation"),
    **UNMISTAKABLE,
}
#: Asynchronous methods that almost only runnables have.
_ASYNCHRONOUS = {"ainvoke", "astream", "abatch"}
_INPUTS = {"input", "inputs", "text", "texts", "documents"}
#: Keywords of requests for text.
_SETTINGS = {
    *("model", "max_tokens", "temperature", "stop", "system", "system_prompt", "top_p", "stream"),
    *("max_new_tokens", "response_format", "model_name", "max_output_tokens", "tools", "schema"),
    *("max_completion_tokens", "system_instruction", "response_model", "top_k"),
}
#: Those that only a model takes.
_OF_MODELS = {
    *("max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens", "top_p"),
    *("system_prompt", "system_instruction", "response_format", "response_model"),
}
#: Those that show that a prompt is for a model, not for a person.
_WITH_PROMPT = _OF_MODELS | {"temperature", "system", "model", "model_name"}
_DOCUMENTS = {"documents", "docs", "passages", "texts", "nodes", "candidates"}
_TEXT_ROLES = {"system", "human", "user", "ai", "assistant", "developer", "placeholder"}
_CONTENTS = {Text("content"), Text("parts"), Text("tool_calls")}


@dataclass(frozen=True, slots=True)
class Shape:
    """What shows a request, as its reason names it, "" if nothing does."""

    text: str = ""
    #: Only models take such a call; the name of the receiver does not matter.
    is_telling: bool = False
    has_messages: bool = False


class RequestShapes:
    """Judges calls by their methods and arguments alone."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def of(self, method: str, arguments: Any, keywords: Any, ref: Ref) -> Shape:
        """Return the shape of a call in the scope `ref`."""
        kind, names = KINDS[method], {name for name, _ in keywords}
        if method in UNMISTAKABLE:
            return Shape("…", is_telling=True)
        given = dict(keywords)
        if "messages" in names:
            is_telling = bool(names & _WITH_PROMPT) or self._are_messages(given["messages"], ref)
            return Shape("messages=…", is_telling, has_messages=True)
        first = arguments[0] if arguments else given.get("input")
        if kind in {"completion", "chat"}:
            if self._are_messages(first, ref):
                return Shape("messages", is_telling=True, has_messages=True)
            return _of_text(method, first, arguments, names)
        if kind == "embeddings" and "model" in names and (names & _INPUTS or arguments):
            return Shape("model=…")
        if kind == "rerank" and ({"query", "documents"} & names):
            is_telling = "query" in names and bool(names & _DOCUMENTS or arguments)
            return Shape("query=…", is_telling)
        if kind == "moderation" and names & {"input", "inputs"}:
            return Shape("input=…", is_telling=True)
        return Shape()

    def _are_messages(self, expression: Any, ref: Ref) -> bool:
        """Return whether an argument is a list of messages with roles, or a dict with one."""
        of = self._inference.of
        if expression and expression[0] == "table":  # its lists hold more than their values do
            return any(
                Text("messages") in of(key, ref) and self._are_messages(value, ref)
                for key, value in expression[1]
                if key
            )
        values = of(expression, ref)
        held = [
            value
            for table in values
            if isinstance(table, Table)
            for keys, value in table.entries
            if Text("messages") in keys
        ]
        return any(_is_list_of_messages(each) for each in (values, *held))


def _of_text(method: str, first: Any, arguments: Any, names: set[Any]) -> Shape:
    """Return the shape of a call if its known arguments are texts."""
    settings = names & _SETTINGS
    shown = ", ".join(f"{name}=…" for name in sorted(settings))
    is_generating = method in GENERATING or method in _CHATTING
    if "prompt" in names:
        if names & _WITH_PROMPT:
            return Shape("prompt=…", is_telling=True)
        return Shape("prompt=…" if is_generating or settings else "")
    if arguments and (is_generating or method in RUNNABLE) and names & _OF_MODELS:
        return Shape(shown, is_telling=True)
    if method in _ASYNCHRONOUS and len(arguments) in {1, 2}:
        return Shape("…", is_telling=not _is_text_constant(first))
    if KINDS[method] == "completion" and arguments and len(settings) > 1:
        return Shape(shown)
    if first and method not in {"predict", "apredict"} and is_prompt(_named(first)):
        return Shape(_named(first))
    return Shape()


def _named(expression: Any) -> str:
    """Return the name of an argument, or of the only element of a list."""
    if expression[0] == "items" and len(expression[1]) == 1:
        expression = expression[1][0]
    return last_name(expression)


def _is_text_constant(expression: Any) -> bool:
    return bool(expression) and expression[0] == "text" and " " not in expression[1]


def _is_list_of_messages(values: Values) -> bool:
    for value in values:
        for elements in value.elements if isinstance(value, Items) else ():
            for each in elements:
                match each:
                    case Table(entries):
                        keys = NOTHING.union(*(texts for texts, _ in entries))
                        if Text("role") in keys and keys & _CONTENTS:
                            return True
                    case Items((role, _)):
                        if any(
                            isinstance(v, Text) and v.text in _TEXT_ROLES for v in texts_in(role)
                        ):
                            return True
    return False
