"""The call sites: every expression that makes a request to a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .catalog import Catalog, Kind, Type
from .facts import Mention, Scope
from .inference import BY_NAME, Inference, Values, order
from .program import Program, Ref, chain, last_name, spelled
from .raw_http import recognise

CERTAIN, LIKELY, NAME_ONLY = "certain", "likely", "name only"
CONFIDENCES = (CERTAIN, LIKELY, NAME_ONLY)

_HTTP_METHODS = {
    "post",
    "request",
    "stream",
    "urlopen",
    "send",
    "fetch",
    "ws_connect",
    "connect",
    "create_connection",
    "WebSocketApp",
    "put",
    "build_request",
    "Request",
}
#: Methods of whatever LangChain runs, and receivers of them that ask no model.
_RUNNABLE = {"invoke", "ainvoke", "stream", "astream", "astream_events", "abatch"}
#: Methods that only models and chains have.
_SPEAKING_CALLS = {
    *("invoke", "ainvoke", "astream", "astream_events", "abatch"),
    *("embed_query", "embed_documents", "aembed_query", "aembed_documents"),
}
#: What answers `messages=`, whichever library has it.
_ANSWERS = {
    *("completion", "acompletion", "chat", "achat", "complete", "acomplete", "chat_completion"),
    *("create_chat_completion", "generate", "agenerate", "stream_chat"),
}
_NO_RUNNABLE = re.compile(r"prompt|template|tool|parser|retriev|search|lambda|function|task")
#: What the body of a request to a model has, whoever serves it.
_BODIES = {
    ("model", "messages"): "chat",
    ("model", "prompt"): "completion",
    ("contents", "generationConfig"): "chat",
    ("anthropic_version", "messages"): "chat",
    ("inputs", "parameters"): "completion",
    ("model", "input", "voice"): "speech",
    ("model", "query", "documents"): "rerank",
}
#: Keywords of a request that carries something.
_SENT = {"json", "data", "content", "headers", "files", "body", "payload"}
#: Receivers that are something else whatever their method is called.
_NO_MODEL = {
    *("builtins", "django", "rest_framework", "stripe", "twilio", "telegram", "telebot", "aiogram"),
    *("discord", "slack_sdk", "celery", "subprocess", "logging", "unittest", "pytest", "typer"),
    *("click", "redis", "sqlalchemy", "pymongo", "elasticsearch", "channels", "kombu", "pika"),
}


@dataclass(slots=True)
class Site:
    """A call that asks a model, and how that is known."""

    ref: Ref
    mention: Mention
    line: int
    end_line: int
    call: str
    kind: str
    provider: str
    transport: str
    confidence: str
    reason: str


class Sites:
    """Finds the sites of a program."""

    def __init__(self, program: Program, inference: Inference, catalog: Catalog) -> None:
        self.program = program
        self.inference = inference
        self.catalog = catalog
        self._methods = catalog.methods
        self._names = self._methods | _ANSWERS
        self._shapes = {
            tuple(shape.split(".")): kind for shape, kind in catalog.unmistakable.items()
        }
        self._longest = max(map(len, self._shapes))

    def candidates(self) -> list[tuple[Any, Ref]]:
        """What has to be worked out before `find`."""
        found = []
        for ref, scope in self.program.scopes():
            for call in scope.calls:
                function = call.expression[1]
                if function and self._may_be(function):
                    found.append((function, ref))
        return found

    def _may_be(self, function: Any) -> bool:
        name = last_name(function)
        if function[0] != "attr" or name in self._names or name in _HTTP_METHODS:
            return True
        # `self.chain(...)`: an attribute that may hold an object which is called.
        return name in self.program.set_attributes

    def find(self) -> list[Site]:
        """All sites, in the order of files and lines."""
        found: dict[tuple[str, int, str], Site] = {}
        for ref, scope in self.program.scopes():
            try:
                for site in self._in(ref, scope):
                    found.setdefault((ref[0], site.line, site.call), site)
            except Exception as error:  # noqa: BLE001 -- told in the report
                self.inference.faults[ref[0]] = f"{type(error).__name__}: {error}"
        return sorted(found.values(), key=lambda site: (site.ref[0], site.line))

    def _in(self, ref: Ref, scope: Scope) -> Iterator[Site]:
        for call in scope.calls:
            if call.expression[1] and self._may_be(call.expression[1]):
                site = self._called(call, ref) or self._posted(call, ref)
                if site:
                    yield site
        for mention in scope.mentions:
            if mention.handed and (site := self._handed(mention, ref)):
                yield site

    # By what the receiver is

    def _called(self, call: Mention, ref: Ref) -> Site | None:
        function = call.expression[1]
        values = self.inference.of(function, ref)
        is_ours = any(value[0] in {"function", "method", "class"} for value in values)
        if known := self._best(values, function, ref):
            if function[0] == "attr" and self.inference.is_local(call.expression, ref):
                return None
            return self._site(call, ref, *known)
        if is_ours:
            return None
        return self._by_shape(call, ref, values)

    def _best(self, values: Values, function: Any, ref: Ref) -> tuple[Kind, str, str] | None:
        """What is known of a call; of several receivers the one whose own the call is."""
        names = chain(function)
        shapes = (tuple(names[-length:]) for length in range(self._longest, 0, -1))
        own = next((self._shapes[each].provider for each in shapes if each in self._shapes), "")
        found = list(self._by_value(values, function, ref))
        return min(found, key=lambda each: each[0].provider != own, default=None)

    def _by_value(self, values: Values, function: Any, ref: Ref) -> Iterator[tuple[Kind, str, str]]:
        for value in sorted(values, key=order):
            if value[0] == "lib":
                if kind := self.catalog.function(value[1]):
                    yield kind, CERTAIN, f"{spelled(function)} is {value[1]}"
                owner, _, method = value[1].rpartition(".")
                if owner and (type_name := self.catalog.type_made_by(owner)):
                    known = self.catalog.types[type_name]
                    if (
                        method in known.calls
                        and not known.needs
                        and not self.catalog.type_made_by(value[1])
                    ) or (method in known.calls and method.startswith(("from_", "afrom_"))):
                        yield (
                            Kind(known.calls[method], known.provider, known.transport),
                            CERTAIN,
                            f"{spelled(function)} is {value[1]}",
                        )
            elif value[0] == "ai":
                yield from self._by_type(value, function, ref)
            elif value[0] == "object" and not self.inference.member(
                value[1], "__call__", is_open=value[2]
            ):
                for type_name, origin in self.inference.library_types(value[1]):
                    yield from self._by_type(("ai", type_name, (), origin), function, ref)

    def _by_type(
        self, value: tuple[Any, ...], function: Any, ref: Ref
    ) -> Iterator[tuple[Kind, str, str]]:
        _, type_name, path, origin = value
        known = self.catalog.types[type_name]
        name = ".".join(path) if path else "()"
        kind = self.catalog.kind_of(type_name, name)
        for start in range(len(path)):
            shape = ".".join(path[start:])
            if kind is None and shape in self.catalog.unmistakable:
                known_shape = self.catalog.unmistakable[shape]
                kind = Kind(known_shape.kind, known.provider, known.transport)
        if kind is None:
            return
        text, file, line = origin
        is_named = text.startswith(BY_NAME)
        if is_named and name not in known.named_calls:
            return
        receiver = function[1] if function and function[0] == "attr" else function
        where = "" if not line else f" at line {line}" if file == ref[0] else f" in {file}:{line}"
        is_said = text.startswith("annotation")
        confidence = NAME_ONLY if is_named else LIKELY if is_said else CERTAIN
        yield kind, confidence, f"{spelled(receiver)} ← {text}{where}"

    # By what the call looks like

    def _by_shape(self, call: Mention, ref: Ref, values: Values) -> Site | None:
        function = call.expression[1]
        if function[0] != "attr":
            return self._by_said(call, ref, values)
        names = [
            name
            for name in chain(function)
            if name not in {"with_raw_response", "with_streaming_response"}
        ]
        if any(
            value[0] == "lib"
            and value[1].partition(".")[0] in _NO_MODEL
            and not value[1].startswith("builtins.")
            for value in values
        ):
            return None
        if any(value[0] == "lib" and _is_builtin_method(value[1]) for value in values):
            return None
        for length in range(min(self._longest, len(names)), 0, -1):
            shape = tuple(names[-length:])
            if shape not in self._shapes or (
                len(names) <= length and not self._has_receiver(function, length)
            ):
                continue
            kind = self._shapes[shape]
            if length == 1 and self._is_own_method(shape[0]) and not self._speaks(names, call):
                return None
            if shape in {
                ("completions", "create"),
                ("embeddings", "create"),
                ("images", "generate"),
                ("images", "edit"),
                ("responses", "create"),
                ("responses", "parse"),
                ("responses", "stream"),
                ("transcriptions", "create"),
                ("completions", "parse"),
                ("moderations", "create"),
            } and self._is_stored(call):
                return None
            return self._site(call, ref, kind, CERTAIN, f"nothing else is called {'.'.join(shape)}")
        return (
            self._by_keywords(call, ref, names)
            or self._by_messages(call, ref, names)
            or self._by_receiver(call, ref, names, values)
            or self._by_said(call, ref, values)
        )

    def _has_receiver(self, function: Any, length: int) -> bool:
        for _ in range(length):
            if function[0] != "attr":
                return False
            function = function[1]
        return True

    def _is_own_method(self, name: str) -> bool:
        return any(
            self.program.is_method(each) or True
            for each in self.program.functions_named.get(name, ())
        )

    def _speaks(self, names: list[str], call: Mention) -> bool:
        """Whether receiver or arguments of a call say that it asks a model."""
        receiver = names[-2].lstrip("_") if len(names) > 1 else ""
        if self.catalog.types_named(receiver) or receiver in {"model", "client", "genai", "models"}:
            return True
        keywords = {name for name, _ in call.expression[3]}
        return bool(
            keywords
            & {"contents", "generation_config", "modelId", "safety_settings", "max_new_tokens"}
        )

    def _is_stored(self, call: Mention) -> bool:
        """`self.responses.create(...)` of a Django relation: no word of a model among its own."""
        _, _, _arguments, keywords, *_ = call.expression
        names = {name for name, _ in keywords}
        telling = {
            "model",
            "input",
            "messages",
            "prompt",
            "stream",
            "file",
            "engine",
            "tools",
            "instructions",
            "max_tokens",
            "temperature",
            "size",
            "n",
            "response_format",
            "previous_response_id",
            None,
            "conversation",
            "text_format",
        }
        return bool(names) and not names & telling

    def _by_keywords(self, call: Mention, ref: Ref, names: list[str]) -> Site | None:
        keywords = {name for name, _ in call.expression[3]}
        for known in self.catalog.types.values():
            for path, telling in known.keywords.items():
                parts = path.split(".")
                if names[-len(parts) :] == parts and keywords & set(telling):
                    word = next(word for word in telling if word in keywords)
                    kind = Kind(known.calls[path], known.provider, known.transport)
                    return self._site(call, ref, kind, CERTAIN, f"{path} with {word}=")
        return None

    def _by_messages(self, call: Mention, ref: Ref, names: list[str]) -> Site | None:
        """`agent.invoke({"messages": [...]})`, `x.invoke([HumanMessage(...)])`: runnables."""
        if names[-1] not in _RUNNABLE or len(names) < 2 or _NO_RUNNABLE.search(names[-2].lower()):
            return None
        given = call.expression[2][0] if call.expression[2] else None
        kind = ""
        for value in self.inference.of(given, ref):
            if value[0] == "table" and any(("text", "messages") in keys for keys, _ in value[1:]):
                kind = "agent"
        if given and given[0] == "items":
            calls = [part[1] for part in given[1] if part and part[0] == "call"]
            makers = {value for each in calls for value in self.inference.of(each, ref)}
            if any(v[0] == "lib" and v[1].endswith("Message") for v in makers):
                kind = "chat"
        if not kind and names[-1].startswith("a") and not self._is_own_method(names[-1]):
            imports = self.program.files[ref[0]].imports.modules
            if any(dotted.startswith(("langchain", "langgraph")) for dotted, _, _ in imports):
                kind = "chain"
        if not kind:
            return None
        known = self.catalog.types["langchain.chain"]
        made = Kind(kind, known.provider, known.transport)
        return self._site(call, ref, made, LIKELY, f"{names[-1]} as runnables have it")

    def _by_receiver(
        self, call: Mention, ref: Ref, names: list[str], values: Values
    ) -> Site | None:
        """By the name of the receiver alone."""
        if len(names) < 2 or any(value[0] in {"object", "module"} for value in values):
            return None
        if not call.expression[2] and not call.expression[3]:
            return None  # a model is asked something
        for length in range(1, min(4, len(names))):
            receiver = names[-length - 1].strip("_").lower()
            path = ".".join(names[-length:])
            for known in self._types_named(receiver, path):
                if path not in known.calls or path not in known.named_calls:
                    continue
                # What the receiver is has been found out, and it is no model.
                inner = call.expression[1]
                for _ in range(length):
                    inner = inner[1]
                if any(
                    v[0] in {"object", "ai"}
                    # A path that becomes what it names has methods that no text has.
                    or (v[0] == "text" and hasattr(str, names[-length]))
                    or (v[0] == "lib" and not self._is_open(v[1], names[-length - 1]))
                    for v in self.inference.of(inner, ref)
                ):
                    return None
                kind = Kind(known.calls[path], known.provider, known.transport)
                return self._site(call, ref, kind, NAME_ONLY, f"the name {names[-length - 1]}")
        return None

    def _types_named(self, name: str, path: str) -> tuple[Type, ...]:
        """The types of `llm`; of `fast_llm` and `llm_json` for what nothing else is called."""
        if found := self.catalog.types_named(name):
            return found
        if path not in _SPEAKING_CALLS:
            return ()
        words = name.split("_")
        return self.catalog.types_named(words[-1]) or self.catalog.types_named(words[0])

    def _is_open(self, dotted: str, name: str) -> bool:
        """Whether something imported may be all that its name says: nobody knows its library."""
        if dotted.startswith("builtins."):
            return True
        return (
            dotted.endswith(f".{name}")
            and dotted.partition(".")[0] not in _NO_MODEL
            and not self.catalog.is_about_ai(dotted)
        )

    def _by_said(self, call: Mention, ref: Ref, values: Values) -> Site | None:
        """`completion(messages=...)` of whatever gateway: what is said, and to what it is said."""
        name = last_name(call.expression[1])
        if name not in _ANSWERS or "messages" not in {word for word, _ in call.expression[3]}:
            return None
        is_theirs = all(value[0] in {"lib", "text"} for value in values)
        if not is_theirs or self.program.functions_named.get(name):
            return None
        kind = Kind("chat", "unknown", "httpx")
        return self._site(call, ref, kind, NAME_ONLY, f"{name} with messages=")

    # Methods that are handed on

    def _handed(self, mention: Mention, ref: Ref) -> Site | None:
        expression = mention.expression
        if not self._may_be_method(expression, ref):
            return None
        values = self.inference.of(expression, ref)
        if known := self._best(values, expression, ref):
            kind, confidence, reason = known
            is_method = any(v[0] == "ai" and v[2] for v in values)
            if is_method or any(v[0] == "lib" and self.catalog.function(v[1]) for v in values):
                return self._site(mention, ref, kind, confidence, f"handed on; {reason}")
        if expression[0] != "attr" or any(
            v[0] in {"function", "method", "object", "class"} for v in values
        ):
            return None
        names = chain(expression)
        for length in range(min(self._longest, len(names) - 1), 0, -1):
            shape = tuple(names[-length:])
            if shape in self._shapes and (length > 1 or not self._is_own_method(shape[0])):
                return self._site(
                    mention,
                    ref,
                    self._shapes[shape],
                    CERTAIN,
                    f"handed on; nothing else is called {'.'.join(shape)}",
                )
        return None

    def _may_be_method(self, expression: Any, ref: Ref) -> bool:
        """Whether a name or attribute can be a method that asks a model at all."""
        if expression[0] == "attr":
            return expression[2] in self._methods
        for scope in (self.program.scope(ref), self.program.scope((ref[0], 0))):
            for binding in scope.bindings.get(expression[1], ()):
                value = binding.value
                if value and value[0] in {"attr", "from"} and value[-1] in self._methods:
                    return True
        return False

    # HTTP by hand

    def _posted(self, call: Mention, ref: Ref) -> Site | None:
        _, function, arguments, keywords, *_ = call.expression
        name = last_name(function)
        values = self.inference.of(function, ref)
        handed = ""
        if arguments and name not in _HTTP_METHODS and last_name(arguments[0]) in _HTTP_METHODS:
            # to_thread(requests.post, url)
            for value in self.inference.of(arguments[0], ref):
                if (
                    value[0] == "lib"
                    and self.catalog.http_client(value[1])
                    and value[1].rpartition(".")[2] in _HTTP_METHODS
                ):
                    values, name, arguments = (
                        frozenset([value]),
                        value[1].rpartition(".")[2],
                        arguments[1:],
                    )
                    handed = "handed on; "
                    break
        if name not in _HTTP_METHODS or name in {"Request", "build_request", "put", "open"}:
            return None
        transports = [self.catalog.http_client(v[1]) for v in values if v[0] == "lib"]
        transports += [v[1] for v in values if v[0] == "http"]
        transport = next((each for each in transports if each), "")
        if any(v[0] in {"function", "method", "class"} for v in values):
            return None
        if not transport and any(
            v[0] == "ai"
            or (
                v[0] == "lib"
                and v[1].partition(".")[0] in _NO_MODEL
                and not v[1].startswith("builtins.")
            )
            for v in values
        ):
            return None
        if (
            not transport
            and len(arguments) < 2
            and not _SENT & {keyword for keyword, _ in keywords}
        ):
            return None  # `@router.post("/chat/completions")`
        urls = [value for keyword, value in keywords if keyword in {"url", "endpoint"}]
        if not urls:
            position = 1 if name in {"request", "stream"} and len(arguments) > 1 else 0
            urls = list(arguments[position : position + 1])
        method = (
            self.inference.of(arguments[0], ref)
            if arguments and name in {"request", "stream"}
            else frozenset()
        )
        if any(v[0] == "text" and v[1].upper() in {"GET", "DELETE", "HEAD"} for v in method):
            return None
        bases = {v[2] for v in values if v[0] == "http"} or {""}
        for url in urls:
            texts = sorted(v[1] for v in self.inference.texts(url, ref))
            if not texts and url and last_name(url):
                texts = [f"{{{last_name(url)}}}"]
            for text in texts:
                for base in sorted(bases):
                    whole = (
                        text
                        if "://" in text or not base
                        else f"{base.rstrip('/')}/{text.lstrip('/')}"
                    )
                    endpoint = recognise(whole, self.catalog)
                    if endpoint is None or (
                        not transport
                        and "://" not in whole
                        and not endpoint.is_certain
                        and name != "post"
                    ):
                        continue
                    if whole.startswith("ws"):
                        transport = "websockets"
                    kind = Kind(endpoint.kind, endpoint.provider, transport or "httpx")
                    confidence = CERTAIN if endpoint.is_certain else LIKELY
                    return self._site(
                        call, ref, kind, confidence, f"{handed}{name} to {endpoint.url}"
                    )
        if (transport or name == "post") and (said := self._asked_by(keywords, ref)):
            kind = Kind(said, "unknown", transport or "httpx")
            return self._site(call, ref, kind, LIKELY, f"{handed}{name} of a model and a prompt")
        return None

    def _asked_by(self, keywords: Any, ref: Ref) -> str:
        """The kind of a request by its body: `{"model": ..., "messages": [...]}`, wherever to."""
        keys: set[str] = set()
        for keyword, value in keywords:
            if keyword not in {"json", "data", "content", "body"}:
                continue
            if value and value[0] == "call" and last_name(value[1]) == "dumps" and value[2]:
                value = value[2][0]
            for held in self.inference.of(value, ref):
                if held[0] == "table":
                    keys |= {text for names, _ in held[1:] for _, text in names}
        for words, kind in _BODIES.items():
            if keys.issuperset(words):
                return kind
        return ""

    def _site(self, mention: Mention, ref: Ref, kind: Kind, confidence: str, reason: str) -> Site:
        expression = mention.expression
        is_call = expression[0] == "call"
        return Site(
            ref=ref,
            mention=mention,
            line=mention.line,
            end_line=expression[5] if is_call else mention.line,
            call=spelled(expression[1] if is_call else expression),
            kind=kind.kind,
            provider=kind.provider,
            transport=kind.transport,
            confidence=confidence,
            reason=reason,
        )


def _is_builtin_method(dotted: str) -> bool:
    """`builtins.text.format`; not what no text has: it is a path that becomes what it names."""
    package, _, rest = dotted.partition(".")
    owner, _, method = rest.partition(".")
    if package != "builtins" or not method:
        return False
    return owner in {"items", "table", "super"} or (owner == "text" and hasattr(str, method))
