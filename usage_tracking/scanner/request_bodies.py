"""The bodies of HTTP requests: which keys they have, and what a model is asked by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .facts import CLASS, Expression
from .frames import Argument, Frame
from .program import Ref, last_name
from .unfolding import Unfolding
from .values import Class

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
#: Keys that tell what a request of any address asks of a model; the first that fits counts.
_TELLING: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(keys), kind)
    for *keys, kind in (
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


class RequestBodies:
    """The keys of bodies."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding

    def keys(self, body: Argument) -> set[str]:
        """Return the keys that a body may have, whatever branch the code takes."""
        return {key for key, _ in self.entries(body)}

    def entries(self, body: Argument, depth: int = 0) -> Iterable[tuple[str, Argument]]:
        """Yield the entries of the dict that a body is, or is written from."""
        if depth > 6:
            return
        for origin in self._unfolding.origins(body.expression, body.frame):
            expression = origin.expression
            if expression is None or expression[0] != "call":
                yield from self._unfolding.entries(origin)
            else:
                yield from self._of_call(expression, origin.frame, depth + 1)

    def _of_call(self, call: Any, frame: Frame, depth: int) -> Iterable[tuple[str, Argument]]:
        _, function, arguments, keywords, *_ = call
        name = last_name(function)
        if name in {"dict", "update", "setdefault"} and (arguments or keywords):
            for argument in arguments:
                yield from self.entries(Argument(argument, frame), depth)
            yield from self._unfolding.entries(Argument(call, frame))
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
                yield from self._unfolding.keywords(call[3], frame)
                for cls in self._unfolding.inference.classes.ancestry(value.ref):
                    yield from self._fields(cls)

    def _fields(self, cls: Ref) -> Iterable[tuple[str, Argument]]:
        scope = self._unfolding.program.scope(cls)
        if scope.kind == CLASS:
            for name, bindings in scope.bindings.items():
                if any(_is_field(each.value) for each in bindings):
                    yield name, Argument(None, Frame(cls))


def _is_field(value: Expression) -> bool:
    """Return whether a class attribute has an annotation."""
    if value is None:
        return False
    return value[0] == "typed" or (
        value[0] == "any" and any(part and part[0] == "typed" for part in value[1])
    )


def kind_of(keys: set[str]) -> tuple[str, frozenset[str]] | None:
    """Return what a body asks of a model, and the keys that tell so; None if they do not tell."""
    return next(((kind, telling) for telling, kind in _TELLING if telling <= keys), None)
