"""Evidence from calls on objects that code outside of the scan has made."""

from __future__ import annotations

from typing import Any

from ..catalog import Catalog, Target
from ..facts import CodeScope, Mention
from ..inference.ai_names import is_ai, is_role
from ..inference.annotations import BY_NAME
from ..inference.engine import Inference
from ..inference.expression_index import OWNER, Position, index_of
from ..program import Program, Ref, last_name, spelled
from ..values import (
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
from .confidence import LIKELY, NAME_ONLY, NO_MODEL, Evidence
from .request_shapes import KINDS, RUNNABLE, RequestShapes

#: Methods that need no more evidence than the name of the receiver.
_TELLING = {"chat_completion", "achat_completion", "create_chat_completion", "acomplete"} | {
    *("achat", "agenerate", "acompletion", "stream_chat", "astream_chat", "ainvoke", "astream"),
    *("embed_text", "embed_texts", "get_embedding", "get_embeddings", "generate_text"),
    *("compress_documents", "acompress_documents", "rerank", "arerank", "complete", "invoke"),
    *("generate_embedding", "generate_embeddings", "create_embedding", "create_embeddings"),
    *("chat", "generate", "stream", "embed", "aembed", "ask", "aask", "predict", "completion"),
}
#: Attributes of the message that a model returns.
_OF_MESSAGES = {"content", "tool_calls", "usage_metadata", "response_metadata", "content_blocks"}
#: Methods whose result is such a message, or a stream of them.
_ANSWERING = {"invoke", "ainvoke", "stream", "astream"}


class OpaqueClients:
    """Judges calls of methods whose code is not in the scan."""

    def __init__(self, program: Program, inference: Inference, catalog: Catalog) -> None:
        self._program = program
        self._inference = inference
        self._catalog = catalog
        self._shapes = RequestShapes(inference)
        #: Scope → the calls in it whose results are read like messages of a model.
        self._answers: dict[Ref, set[int]] = {}

    def evidence(self, call: Mention, ref: Ref, values: Values) -> Evidence | None:
        """Return the evidence of a call in the scope `ref` of a method that may be `values`."""
        _, function, arguments, keywords, *_ = call.expression
        method = last_name(function)
        kind = KINDS.get(method)
        if not kind or function[0] != "attr" or not (arguments or keywords):
            return None
        owner = function[1]
        is_delegate = self._is_delegate(call, ref)
        made_by = "" if is_delegate else self._factory(owner, ref)
        if made_by is None or not all(self._is_opaque(value) for value in values):
            return None
        name = _receiver_name(owner)
        shape = self._shapes.of(method, arguments, keywords, ref)
        is_named = bool(made_by) or is_ai(name)
        request, is_telling = shape.text, shape.is_telling or is_delegate
        if not is_telling and self._is_message(call, ref):
            request, is_telling = "… and its message", True
        if not (is_telling or is_named or (request and is_role(name))):
            return None
        if not request and method not in _TELLING and not is_telling:
            return None
        if not made_by and not is_delegate and self._is_defined(method, call, ref):
            return None
        is_runnable = method in RUNNABLE or (method == "agenerate" and not keywords)
        known = self._catalog.types["langchain.model" if is_runnable else "unknown.client"]
        kind = "chat" if is_runnable or shape.has_messages else kind
        how = f".{method}({request or '…'})"
        if made_by:
            reason = f"{made_by} is not in the scan; {how}"
        elif is_named or not is_telling:
            reason = f"the name {name}; {how}"
        else:
            reason = f"{how} is a request to a model"
        confidence = LIKELY if made_by and request else NAME_ONLY
        return Evidence(Target(kind, known.provider, known.transport), confidence, reason)

    def _is_delegate(self, call: Mention, ref: Ref) -> bool:
        """Return whether a method of a model hands its arguments on to the same method."""
        _, function, arguments, keywords, *_ = call.expression
        scope, cls = self._program.scope(ref), self._program.class_of(ref)
        own = {each.name for each in scope.parameters[1:]}
        given = [*arguments, *(value for _, value in keywords)]
        if cls is None or scope.name != function[2] or not given:
            return False
        held = self._inference.of(function[1], ref)
        if not all(isinstance(value, AIObject) and value.path for value in held):
            return False
        if not all(each and each[0] == "name" and each[1] in own for each in given):
            return False
        return any(
            scope.name in self._catalog.types[base.type_name].calls
            for base in self._inference.classes.library_objects(cls)
        )

    def _is_message(self, call: Mention, ref: Ref) -> bool:
        """Return whether the code around a call reads what only a model's message has."""
        _, function, arguments, *_ = call.expression
        if function[2] not in _ANSWERING or len(arguments) not in {1, 2}:
            return False
        if ref not in self._answers:
            self._answers[ref] = _answers(self._program.scope(ref))
        return id(call.expression) in self._answers[ref]

    def _factory(self, owner: Any, ref: Ref) -> str | None:
        """Return what made an unknown client, "" if that is unknown, None for other objects."""
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
        """Return whether a function belongs to a library whose models are all in the catalog."""
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
            and self._inference.import_groups.is_one(other[0], function[0])
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
                and self._inference.import_groups.is_one(function[0], ref[0])
                and not self._is_stub(function)
                and names <= known
                and len(arguments) + len(names) >= needed
                and len(arguments) < len(parameters)
            ):
                return True
        return False


def _answers(scope: CodeScope) -> set[int]:
    """Return the calls of a scope whose results are read like messages of a model."""
    index = index_of(scope, scope.bindings)
    found = {key for key, position in index.positions.items() if _reads_message(position)}
    for name, read in index.names.items():
        if any(_reads_message(index.position(each)) for each in read):
            for binding in scope.bindings.get(name, ()):
                value = binding.value
                found.add(id(value[1] if value and value[0] == "element" else value))
    return found


def _reads_message(position: Position | None) -> bool:
    return position is not None and position.role == OWNER and position.name in _OF_MESSAGES


def _receiver_name(owner: Any) -> str:
    """Return the more telling name of an object: its own, or that of its container."""
    while owner and owner[0] in {"index", "call", "element"}:
        owner = owner[1]
    return last_name(owner) or spelled(owner)
