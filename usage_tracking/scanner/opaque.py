"""Evidence from calls on objects that code outside of the scan has made."""

from __future__ import annotations

from typing import Any

from .ai_names import is_ai, is_role
from .annotations import BY_NAME
from .catalog import Catalog, Target
from .evidence import LIKELY, NAME_ONLY, NO_MODEL, Evidence
from .facts import Mention
from .inference import Inference
from .program import Program, Ref, last_name, spelled
from .values import (
    FUNCTIONS,
    AIObject,
    Class,
    HTTPClient,
    Instance,
    Items,
    Library,
    Method,
    Module,
    Table,
    Text,
    Value,
    Values,
)

#: Methods of a client that take a prompt or messages.
_GENERATING = {
    *("generate", "agenerate", "complete", "acomplete", "completion", "acompletion", "ask", "aask"),
    *("generate_text", "agenerate_text", "generate_content", "generate_stream", "stream_generate"),
    *(
        "generate_response",
        "get_completion",
        "stream_complete",
        "astream_complete",
        "text_completion",
    ),
    *("create_completion", "acreate_completion", "get_response", "generate_reply", "respond"),
}
_CHATTING = {
    *("chat", "achat", "chat_completion", "achat_completion", "stream_chat", "astream_chat"),
    *("chat_stream", "create_chat_completion", "acreate_chat_completion", "chat_async", "converse"),
    *("chat_completions", "create_message", "send_messages"),
}
#: Methods of LangChain's models, and of others.
_RUNNABLE = {
    *("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "predict", "apredict"),
    *("astream_events",),
}
_EMBEDDING = {
    *("embed", "aembed", "embed_text", "embed_texts", "aembed_text", "aembed_texts"),
    *("get_embedding", "get_embeddings", "aget_embedding", "create_embedding"),
    *("create_embeddings", "embed_batch", "generate_embedding", "generate_embeddings"),
}
_RANKING = {"rerank", "arerank", "compress_documents", "acompress_documents"}
KINDS = {
    **dict.fromkeys(_GENERATING, "completion"),
    **dict.fromkeys((*_CHATTING, *_RUNNABLE), "chat"),
    **dict.fromkeys(_EMBEDDING, "embeddings"),
    **dict.fromkeys(_RANKING, "rerank"),
}
#: Methods that need no more evidence than the name of the receiver.
_TELLING = {"chat_completion", "achat_completion", "create_chat_completion", "acomplete"} | {
    *("achat", "agenerate", "acompletion", "stream_chat", "astream_chat", "ainvoke", "astream"),
    *("embed_text", "embed_texts", "get_embedding", "get_embeddings", "generate_text"),
    *("compress_documents", "acompress_documents", "rerank", "arerank", "complete", "invoke"),
    *("generate_embedding", "generate_embeddings", "create_embedding", "create_embeddings"),
    *("chat", "generate", "stream", "embed", "aembed", "ask", "aask", "predict", "completion"),
}
_INPUTS = {"input", "inputs", "text", "texts", "documents"}
#: Keywords of requests for text.
_SETTINGS = {
    *("model", "max_tokens", "temperature", "stop", "system", "system_prompt", "top_p", "stream"),
    *("max_new_tokens", "response_format", "model_name", "max_output_tokens", "tools", "schema"),
}
_ROLE = Text("role")


class OpaqueClients:
    """Judges calls of methods whose code is not in the scan."""

    def __init__(self, program: Program, inference: Inference, catalog: Catalog) -> None:
        self._program = program
        self._inference = inference
        self._catalog = catalog

    def evidence(self, call: Mention, ref: Ref, values: Values) -> Evidence | None:
        """Return the evidence of a call in the scope `ref` of a method that may be `values`."""
        _, function, arguments, keywords, *_ = call.expression
        method = last_name(function)
        kind = KINDS.get(method)
        if not kind or function[0] != "attr" or not (arguments or keywords):
            return None
        owner = function[1]
        made_by = self._factory(owner, ref)
        if made_by is None or not all(self._is_opaque(value) for value in values):
            return None
        name = _receiver_name(owner)
        request = self._request(method, kind, arguments, keywords, ref)
        is_named = bool(made_by) or is_ai(name)
        if not is_named and not (request and is_role(name)):
            return None
        if not request and method not in _TELLING:
            return None
        if not made_by and self._is_defined(method, call, ref):
            return None
        is_runnable = method in _RUNNABLE or (method == "agenerate" and not keywords)
        known = self._catalog.types["langchain.model" if is_runnable else "unknown.client"]
        kind = "chat" if is_runnable or request.startswith("messages") else kind
        how = f"; .{method}({request or '…'})"
        reason = f"{made_by} is not in the scan{how}" if made_by else f"the name {name}{how}"
        confidence = LIKELY if made_by and request else NAME_ONLY
        return Evidence(Target(kind, known.provider, known.transport), confidence, reason)

    def _factory(self, owner: Any, ref: Ref) -> str | None:
        """Return what made an object, "" if that is unknown, None if it is no unknown client."""
        made_by = ""
        if owner and owner[0] == "call" and self._is_of_catalog(owner[1], ref):
            return None
        for value in self._inference.of(owner, ref):
            match value:
                case AIObject(type_name, origin=origin) if origin.text.startswith(BY_NAME):
                    factory = origin.text.removeprefix(BY_NAME).strip()
                    if type_name == "unknown.client" or is_ai(factory):
                        made_by = factory
                case Library(dotted):
                    package = dotted.partition(".")[0]
                    if package in NO_MODEL or self._catalog.is_about_ai(dotted):
                        return None
                    if is_ai(dotted.rpartition(".")[2]):
                        made_by = dotted
                case Text(text) if "{" in text:
                    pass
                case Instance(cls, _):
                    if not self._program.scope(cls).bases:
                        return None
                case _:
                    return None
        return made_by

    def _is_of_catalog(self, function: Any, ref: Ref) -> bool:
        """Return whether a function belongs to a library of which the catalog knows all models."""
        return any(
            isinstance(value, Library) and self._catalog.is_about_ai(value.dotted)
            for value in self._inference.of(function, ref)
        )

    def _is_opaque(self, value: Value) -> bool:
        """Return whether the code of a method is unknown."""
        match value:
            case Method(function):
                return self._is_stub(function)
            case Class() | Module() | HTTPClient() | Items() | Table():
                return False
        return not isinstance(value, FUNCTIONS)

    def _is_stub(self, function: Ref) -> bool:
        """Return whether a method only declares what objects outside of the scan do."""
        scope = self._program.scope(function)
        if scope.calls or scope.returns or scope.attributes or scope.bindings:
            return False
        signature = [each.name for each in scope.parameters]
        return not any(
            other != function
            and [each.name for each in self._program.scope(other).parameters] == signature
            and self._inference.projects.is_one(other[0], function[0])
            for other in self._program.functions_named[scope.name]
        )

    def _is_defined(self, method: str, call: Mention, ref: Ref) -> bool:
        """Return whether a method of the project can take the arguments of a call."""
        _, _, arguments, keywords, *_ = call.expression
        names = {name for name, _ in keywords if name}
        for function in self._program.functions_named.get(method, ()):
            parameters = self._program.scope(function).parameters
            known = {each.name for each in parameters}
            needed = sum(each.default is None and not each.keyword_only for each in parameters) - 1
            if (
                self._program.is_method(function)
                and self._inference.projects.is_one(function[0], ref[0])
                and not self._is_stub(function)
                and names <= known
                and len(arguments) + len(names) >= needed
                and len(arguments) < len(parameters)
            ):
                return True
        return False

    def _request(self, method: str, kind: str, arguments: Any, keywords: Any, ref: Ref) -> str:
        """Return the arguments that tell a request to a model, as its reason names them."""
        names = {name for name, _ in keywords}
        if "messages" in names:
            return "messages=…"
        if any(self._are_messages(each, ref) for each in arguments[:1]):
            return "messages"
        if kind in {"completion", "chat"} and "prompt" in names:
            return "prompt=…" if method in _GENERATING or names & _SETTINGS else ""
        if kind == "completion" and arguments and len(names & _SETTINGS) > 1:
            return ", ".join(f"{name}=…" for name in sorted(names & _SETTINGS))
        if kind == "embeddings" and "model" in names and (names & _INPUTS or arguments):
            return "model=…"
        if kind == "rerank" and {"query", "documents"} & names:
            return "query=…"
        return ""

    def _are_messages(self, expression: Any, ref: Ref) -> bool:
        """Return whether an argument is a list of messages with roles."""
        for value in self._inference.of(expression, ref):
            for elements in value.elements if isinstance(value, Items) else ():
                for each in elements:
                    if isinstance(each, Table) and any(_ROLE in keys for keys, _ in each.entries):
                        return True
        return False


def _receiver_name(owner: Any) -> str:
    """Return the name that says most about an object: its own, or that of its container."""
    while owner and owner[0] in {"index", "call", "element"}:
        owner = owner[1]
    return last_name(owner) or spelled(owner)
