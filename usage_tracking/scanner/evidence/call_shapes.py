"""Evidence from what a call looks like: its name, its keywords, and the name of its receiver."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from ..catalog import Catalog, SDKType, Target
from ..facts import Mention
from ..inference.engine import Inference
from ..program import Program, Ref, chain, last_name
from ..values import AIObject, Instance, Library, Module, Table, Text, Value, Values
from .confidence import CERTAIN, LIKELY, NAME_ONLY, NO_MODEL, Evidence, is_of_other_library

#: Methods of LangChain's runnables.
_RUNNABLE = {"invoke", "ainvoke", "stream", "astream", "astream_events", "abatch"}
#: Names of runnables that call no model.
_NO_MODEL_NAME = re.compile(r"prompt|template|tool|parser|retriev|search|lambda|function|task")
#: Methods that only models and chains have.
_MODEL_METHODS = {
    *("invoke", "ainvoke", "astream", "astream_events", "abatch"),
    *("embed_query", "embed_documents", "aembed_query", "aembed_documents"),
}
#: Functions of any AI library that take `messages=`.
TAKES_MESSAGES = {
    *("completion", "acompletion", "chat", "achat", "complete", "acomplete", "chat_completion"),
    *("create_chat_completion", "generate", "agenerate", "stream_chat"),
}
#: Shapes that a Django relation may have too: `self.responses.create(...)`.
_SHAPES_OF_RELATIONS = {
    *(("completions", "create"), ("embeddings", "create"), ("images", "generate")),
    *(("images", "edit"), ("responses", "create"), ("responses", "parse")),
    *(("responses", "stream"), ("transcriptions", "create"), ("completions", "parse")),
    ("moderations", "create"),
}
#: Keywords of requests to a model; `None` is `**keywords`.
_REQUEST_KEYWORDS = {
    *("model", "input", "messages", "prompt", "stream", "file", "engine", "tools", "instructions"),
    *("max_tokens", "temperature", "size", "n", "response_format", "previous_response_id"),
    *(None, "conversation", "text_format"),
}
#: Keywords and receivers that distinguish a one-word shape from a method of the project.
_SDK_KEYWORDS = {"contents", "generation_config", "modelId", "safety_settings", "max_new_tokens"}
_SDK_RECEIVERS = {"model", "client", "genai", "models"}
_TRANSPARENT = {"with_raw_response", "with_streaming_response"}
#: At most this many names after the receiver are looked at.
_LONGEST_NAMED_CALL = 3


class CallShapes:
    """Judges calls whose receiver is unknown."""

    def __init__(self, program: Program, inference: Inference, catalog: Catalog) -> None:
        self._program = program
        self._inference = inference
        self._catalog = catalog

    def evidence(self, call: Mention, ref: Ref, values: Values) -> Evidence | None:
        """Return the evidence of a call in the scope `ref` whose function may be `values`."""
        function = call.expression[1]
        if function[0] != "attr":
            return self._by_messages_keyword(call, values)
        if is_of_other_library(values) or any(map(_is_builtin_method, values)):
            return None
        names = [name for name in chain(function) if name not in _TRANSPARENT]
        shape = self._unmistakable_shape(function, names)
        if shape:
            if self._is_other_method(shape, names, call):
                return None
            reason = f"only an AI SDK has {'.'.join(shape)}"
            return Evidence(self._catalog.shapes[shape], CERTAIN, reason)
        return (
            self._by_keywords(call, names)
            or self._by_messages(call, ref, names)
            or self._by_receiver_name(call, ref, names, values)
            or self._by_messages_keyword(call, values)
        )

    # Unmistakable shapes

    def of_passed_method(self, method: Any) -> Evidence | None:
        """Return the evidence of a method that is passed uncalled."""
        names = chain(method)
        shapes = self._catalog.shapes
        for length in range(min(self._catalog.longest_shape, len(names) - 1), 0, -1):
            shape = tuple(names[-length:])
            if shape in shapes and (length > 1 or not self._is_defined(shape[0])):
                reason = f"passed uncalled; only an AI SDK has {'.'.join(shape)}"
                return Evidence(shapes[shape], CERTAIN, reason)
        return None

    def _unmistakable_shape(self, function: Any, names: list[str]) -> tuple[str, ...]:
        for length in range(min(self._catalog.longest_shape, len(names)), 0, -1):
            shape = tuple(names[-length:])
            if shape in self._catalog.shapes and (
                len(names) > length or _attributes(function) >= length
            ):
                return shape
        return ()

    def _is_other_method(self, shape: tuple[str, ...], names: list[str], call: Mention) -> bool:
        """Return whether the project or Django may have a method of an unmistakable shape."""
        if len(shape) == 1 and self._is_defined(shape[0]) and not self._is_of_sdk(names, call):
            return True
        keywords = {name for name, _ in call.expression[3]}
        return shape in _SHAPES_OF_RELATIONS and bool(keywords) and not keywords & _REQUEST_KEYWORDS

    def _is_defined(self, name: str) -> bool:
        """Return whether the project has a function of this name."""
        return bool(self._program.functions_named.get(name))

    def _is_of_sdk(self, names: list[str], call: Mention) -> bool:
        """Return whether the receiver's name or a keyword belongs to an SDK."""
        receiver = names[-2].lstrip("_") if len(names) > 1 else ""
        if self._catalog.types_named(receiver) or receiver in _SDK_RECEIVERS:
            return True
        return any(name in _SDK_KEYWORDS for name, _ in call.expression[3])

    # Keywords and arguments

    def _by_keywords(self, call: Mention, names: list[str]) -> Evidence | None:
        keywords = {name for name, _ in call.expression[3]}
        for known in self._catalog.types.values():
            for path, telling in known.keywords.items():
                parts = path.split(".")
                if names[-len(parts) :] == parts and keywords & set(telling):
                    word = next(word for word in telling if word in keywords)
                    target = known.target(path)
                    return Evidence(target, CERTAIN, f"{path} with {word}=")
        return None

    def _by_messages(self, call: Mention, ref: Ref, names: list[str]) -> Evidence | None:
        """Judge `agent.invoke({"messages": [...]})` and `x.invoke([HumanMessage(...)])`."""
        if names[-1] not in _RUNNABLE or len(names) < 2 or _NO_MODEL_NAME.search(names[-2].lower()):
            return None
        argument = call.expression[2][0] if call.expression[2] else None
        kind = self._kind_of_messages(argument, ref)
        if not kind and names[-1].startswith("a") and not self._is_defined(names[-1]):
            imports = self._program.files[ref[0]].imports.modules
            if any(dotted.startswith(("langchain", "langgraph")) for dotted, _, _ in imports):
                kind = "chain"
        if not kind:
            return None
        known = self._catalog.types["langchain.chain"]
        target = Target(kind, known.provider, known.transport)
        return Evidence(target, LIKELY, f"{names[-1]} is a method of runnables")

    def _kind_of_messages(self, argument: Any, ref: Ref) -> str:
        kind = ""
        for value in self._inference.of(argument, ref):
            if isinstance(value, Table) and any(
                Text("messages") in keys for keys, _ in value.entries
            ):
                kind = "agent"
        if argument and argument[0] == "items":
            makers = [part[1] for part in argument[1] if part and part[0] == "call"]
            if any(
                isinstance(value, Library) and value.dotted.endswith("Message")
                for maker in makers
                for value in self._inference.of(maker, ref)
            ):
                kind = "chat"
        return kind

    def _by_messages_keyword(self, call: Mention, values: Values) -> Evidence | None:
        """Judge `completion(messages=...)` of an unknown gateway."""
        name = last_name(call.expression[1])
        if name not in TAKES_MESSAGES or "messages" not in {key for key, _ in call.expression[3]}:
            return None
        is_foreign = all(isinstance(value, (Library, Text)) for value in values)
        if not is_foreign or self._is_defined(name):
            return None
        return Evidence(Target("chat", "unknown", "httpx"), NAME_ONLY, f"{name} with messages=")

    # The name of the receiver

    def _by_receiver_name(
        self, call: Mention, ref: Ref, names: list[str], values: Values
    ) -> Evidence | None:
        if len(names) < 2 or any(isinstance(value, (Instance, Module)) for value in values):
            return None
        _, function, arguments, keywords, *_ = call.expression
        if not arguments and not keywords:
            return None  # a request has a prompt
        for length in range(1, min(_LONGEST_NAMED_CALL + 1, len(names))):
            receiver = names[-length - 1]
            path = ".".join(names[-length:])
            for known in self._types_named(receiver.strip("_").lower(), path):
                if path not in known.calls or path not in known.named_calls:
                    continue
                owner = function
                for _ in range(length):
                    owner = owner[1]
                if any(
                    self._is_no_model(value, receiver, names[-length])
                    for value in self._inference.of(owner, ref)
                ):
                    return None
                target = known.target(path)
                return Evidence(target, NAME_ONLY, f"the name {receiver}")
        return None

    def _types_named(self, name: str, path: str) -> tuple[SDKType, ...]:
        """Return the types of `llm`; for methods that only models have, of `fast_llm` too."""
        if found := self._catalog.types_named(name):
            return found
        if path not in _MODEL_METHODS:
            return ()
        words = name.split("_")
        return self._catalog.types_named(words[-1]) or self._catalog.types_named(words[0])

    def _is_no_model(self, value: Value, name: str, method: str) -> bool:
        """Return whether the receiver `name` is known, and is not a model."""
        match value:
            case Instance() | AIObject():
                return True
            case Text():
                # The receiver may be the path of an object, with methods that str lacks.
                return hasattr(str, method)
            case Library(dotted):
                # An import from an unknown library may be what its name suggests.
                may_be_model = dotted.startswith("builtins.") or (
                    dotted.endswith(f".{name}")
                    and dotted.partition(".")[0] not in NO_MODEL
                    and not self._catalog.is_about_ai(dotted)
                )
                return not may_be_model
        return False


def _attributes(function: Any) -> int:
    """Return how many attributes an expression ends with."""
    number = 0
    while function and function[0] == "attr":
        number, function = number + 1, function[1]
    return number


def _is_builtin_method(value: Value) -> bool:
    """Return whether `value` is a method such as `str.format`.

    Other methods of a text are not builtin: the text is the path of an object.
    """
    if not isinstance(value, Library):
        return False
    package, _, rest = value.dotted.partition(".")
    owner, _, method = rest.partition(".")
    if package != "builtins" or not method:
        return False
    if owner == "items":
        return any(hasattr(kind, method) for kind in (list, set, deque))
    return owner in {"table", "super"} or (owner == "text" and hasattr(str, method))
