"""The bodies of HTTP requests: which keys they have, and what a model is asked by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..facts import CLASS, Expression
from ..program import Ref, last_name
from ..values import Class
from .caller_frames import Argument, Frame
from .unfolding import Unfolding

#: Functions and methods that give a dict, or its text, of their first argument or receiver.
_OF_ARGUMENT = {
    *("dumps", "jsonable_encoder", "urlencode", "copy", "deepcopy", "bytes", "asdict", "vars"),
    *("packb", "to_jsonable_python", "dump", "BytesIO", "StringIO", "encode_json", "serialize"),
    *("OrderedDict", "model_to_dict", "dict_to_json", "JSON", "str", "FormData", "json_encode"),
}
_OF_RECEIVER = {
    *("encode", "copy", "model_dump", "model_dump_json", "dict", "json", "to_dict", "as_dict"),
    *("to_json", "dumps", "asdict", "model_copy", "items", "dump", "serialize", "strip"),
}
#: Keys that show what a request to any address asks of a model; the first that fits counts.
_TELLING: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys), kind)
    for *keys, kind in (
        ("messages.role", "chat"),
        ("model", "messages", "chat"),
        ("anthropic_version", "messages", "chat"),
        ("messages", "max_tokens", "chat"),
        ("messages", "temperature", "chat"),
        ("contents", "generationConfig", "chat"),
        ("contents", "generation_config", "chat"),
        ("prompt", "negative_prompt", "image"),
        ("prompt", "num_inference_steps", "image"),
        ("prompt", "guidance_scale", "image"),
        ("prompt", "cfg_scale", "image"),
        ("model", "prompt", "completion"),
        ("prompt", "max_tokens", "completion"),
        ("prompt", "max_new_tokens", "completion"),
        ("prompt", "max_tokens_to_sample", "completion"),
        ("prompt", "max_length", "temperature", "completion"),
        ("prompt", "n_predict", "completion"),
        ("prompt", "num_predict", "completion"),
        ("prompt", "sampling_params", "completion"),
        ("prompt", "top_p", "completion"),
        ("text_input", "max_tokens", "completion"),
        ("text_input", "sampling_parameters", "completion"),
        ("inputs", "parameters", "completion"),
        ("instances", "parameters", "prediction"),
        ("model", "input", "voice", "speech"),
        ("model", "query", "documents", "rerank"),
        ("query", "texts", "raw_scores", "rerank"),
        ("query", "documents", "top_n", "rerank"),
        ("model", "input", "encoding_format", "embeddings"),
        ("model", "input", "instructions", "chat"),
        ("model", "input", "max_output_tokens", "chat"),
        ("model", "input", "reasoning", "chat"),
        ("model", "input", "tools", "chat"),
    )
)
#: Keys of a prompt, each with a key that says how the model answers it.
_ASKED_HOW = {
    ("prompt", "completion"): (
        *("temperature", "stop", "stop_sequences", "stream", "top_k", "system", "system_prompt"),
        *("repetition_penalty", "repeat_penalty", "max_output_tokens", "generation_config"),
    ),
    ("prompt", "image"): ("num_images", "aspect_ratio", "sampler_name", "width"),
    **{
        (asked, "completion"): ("max_new_tokens", "n_predict", "num_predict", "top_p")
        for asked in ("text", "input", "inputs", "query", "question", "instruction", "prompts")
    },
}
_TELLING += tuple(
    (frozenset((asked, how)), kind) for (asked, kind), all_ in _ASKED_HOW.items() for how in all_
)
#: Keys that other records have as well; they count only if the URL does not name another service.
_AMBIGUOUS = {frozenset(("model", "messages")), frozenset(("model", "prompt"))}
#: Keys whose value holds the body proper.
_ENVELOPES = {
    *("input", "inputs", "data", "payload", "body", "request", "params", "args", "arguments"),
    *("kwargs", "parameters", "inputData", "model_input", "model_inputs"),
}
#: Keys of a prompt. An empty value, such as a default, is not a prompt.
_ASKED = {"prompt", "messages", "input", "inputs", "contents", "prompts", "text", "query"}
_NOTHING = {("items", ()), ("text", ""), ("table", ())}


class RequestBodies:
    """The keys of bodies."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding

    def keys(self, body: Argument) -> set[str]:
        """Return the keys that a body may have, on any branch of the code."""
        return self._keys(body, 0)

    def _keys(self, body: Argument, depth: int) -> set[str]:
        """Return keys; those in an envelope as `input.prompt`, of turns also `messages.role`."""
        found: set[str] = set()
        for key, value in self.entries(body):
            if key in _ASKED and value.expression in _NOTHING and not self._is_filled(key, value):
                continue
            found.add(key)
            if key in _ENVELOPES and depth < 2:
                found |= {f"{key}.{inner}" for inner in self._keys(value, depth + 1)}
            if key in {"messages", "contents"} and self._has_turns(value):
                found.add("messages.role")
        return found

    def _is_filled(self, key: str, value: Argument) -> bool:
        """Return whether the function of an empty list adds items to it later."""
        functions = (
            call.expression[1] for call in self._unfolding.program.scope(value.frame.ref).calls
        )
        return any(
            function
            and function[0] == "attr"
            and function[2] in {"append", "extend", "insert"}
            and function[1]
            and function[1][0] == "index"
            and function[1][2] == ("text", key)
            for function in functions
        )

    def _has_turns(self, messages: Argument) -> bool:
        """Return whether a list has dicts with a role and content, or with parts."""
        for origin in self._unfolding.origins(messages.expression, messages.frame):
            match origin.expression:
                case ("items", parts):
                    for part in parts:
                        keys = {key for key, _ in self.entries(Argument(part, origin.frame))}
                        if keys >= {"role", "content"} or "parts" in keys:
                            return True
                case ("join", parts):
                    if any(self._has_turns(Argument(part, origin.frame)) for part in parts):
                        return True
        return False

    def entries(self, body: Argument, depth: int = 0) -> Iterable[tuple[str, Argument]]:
        """Yield the entries of the dict that a body is, or is written from."""
        if depth > 6:
            return
        for origin in self._unfolding.origins(body.expression, body.frame):
            expression = origin.expression
            if expression is None or expression[0] != "call":
                yield from self._unfolding.dicts.entries(origin)
            else:
                yield from self._of_call(expression, origin.frame, depth + 1)

    def _of_call(self, call: Any, frame: Frame, depth: int) -> Iterable[tuple[str, Argument]]:
        _, function, arguments, keywords, *_ = call
        name = last_name(function)
        if name in {"dict", "update", "setdefault"} and (arguments or keywords):
            for argument in arguments:
                yield from self.entries(Argument(argument, frame), depth)
            yield from self._unfolding.dicts.entries(Argument(call, frame))
        elif name in _OF_ARGUMENT and arguments:
            yield from self.entries(Argument(arguments[0], frame), depth)
        elif name in _OF_RECEIVER and function[0] == "attr":
            yield from self.entries(Argument(function[1], frame), depth)
        else:
            yield from self._of_object(call, frame)

    def _of_object(self, call: Any, frame: Frame) -> Iterable[tuple[str, Argument]]:
        """Yield the fields of an object of the project: `Completion(prompt=text)`."""
        for value in self._unfolding.inference.of(call[1], frame.ref):
            if isinstance(value, Class):
                yield from self._unfolding.calls.keywords(call[3], frame)
                for cls in self._unfolding.inference.classes.ancestry(value.ref):
                    yield from self._fields(cls, has_defaults=not call[2])

    def _fields(self, cls: Ref, *, has_defaults: bool) -> Iterable[tuple[str, Argument]]:
        scope = self._unfolding.program.scope(cls)
        if scope.kind == CLASS:
            for name, bindings in scope.bindings.items():
                values = [each.value for each in bindings if _is_field(each.value)]
                has_default = any(value and value[0] == "any" for value in values)
                if not values or (has_defaults and has_default and name in _ASKED):
                    continue
                yield name, Argument(None, Frame(cls))


def _is_field(value: Expression) -> bool:
    """Return whether a class attribute has an annotation."""
    if value is None:
        return False
    return value[0] == "typed" or (
        value[0] == "any" and any(part and part[0] == "typed" for part in value[1])
    )


def groups_of(keys: set[str]) -> list[set[str]]:
    """Return the keys of a body, then those in each of its envelopes."""
    envelopes = sorted({key.rpartition(".")[0] for key in keys if "." in key} - {"messages"})
    inner = [
        {key.removeprefix(f"{name}.") for key in keys if key.startswith(f"{name}.")}
        for name in envelopes
    ]
    return [keys, *inner]


def kind_of(keys: set[str]) -> tuple[str, frozenset[str]] | None:
    """Return what a body asks of a model, and the keys that show it; None if no key shows it."""
    matches = (
        (kind, telling)
        for group in groups_of(keys)
        for telling, kind in _TELLING
        if telling <= group
    )
    found = next(matches, None)
    if found is None and "input.prompt" in keys:
        return "completion", frozenset({"input.prompt"})
    return found


def is_ambiguous(telling: frozenset[str]) -> bool:
    """Return whether records that have nothing to do with a model may have these keys, too."""
    return telling in _AMBIGUOUS
