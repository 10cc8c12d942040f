"""Calls of a function by another that it is passed to, with the arguments that reach it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..facts import Expression, Mention
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import is_reference_to

#: Keywords of a function that is called later, as in `Thread(target=post, args=(url,))`.
TARGETS = {"target", "func", "function", "fn"}


def spread(call: Any) -> Any | None:
    """Return `target(*args, **kwargs)` for `Thread(target=…, args=…, kwargs=…)`, else None."""
    keywords = dict(call[3])
    target = next((keywords[name] for name in TARGETS if keywords.get(name)), None)
    if target is None or not {"args", "kwargs"} & keywords.keys():
        return None
    items, table = keywords.get("args"), keywords.get("kwargs")
    arguments = items[1] if items and items[0] == "items" else ()
    return ("call", target, arguments, ((None, table),) if table else (), call[4], call[5])


class IndirectCalls:
    """Finds the calls of functions of the project, also those by functions they are passed to."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        #: Name of a function → (where, call, the call of the function that it amounts to).
        self._named: dict[str, list[tuple[Ref, Mention, Any]]] = defaultdict(list)
        bound = _bound_names(inference.program)
        for ref, scope in inference.program.scopes():
            for mention in scope.calls:
                for target in bound.get(last_name(mention.expression[1]), ()):
                    self._named[target].append((ref, mention, mention.expression))
                for call in _inner_calls(mention.expression):
                    self._named[last_name(call[1])].append((ref, mention, call))

    def of(self, function: Ref) -> Iterator[tuple[Ref, Mention, Any]]:
        """Yield the calls of a function: where, the call, and its arguments as a direct call."""
        for ref, mention in self._inference.functions.callers(function):
            yield ref, mention, mention.expression
        name = self._inference.program.scope(function).name
        for ref, mention, call in self._named.get(name, ()):
            if is_reference_to(function, self._inference.of(call[1], ref)):
                yield ref, mention, call


def _bound_names(program: Program) -> dict[str, set[str]]:
    """Return the names that hold a `partial`, each with the names of the functions in it."""
    found: dict[str, set[str]] = defaultdict(set)
    for _, scope in program.scopes():
        values = [(name, each.value) for name, all_ in scope.bindings.items() for each in all_]
        for name, value in [*values, *((name, value) for _, name, value in scope.attributes)]:
            if value and value[0] == "call" and last_name(value[1]) == "partial" and value[2]:
                found[name].add(last_name(value[2][0]))
    return found


def _inner_calls(call: Any) -> Iterator[Any]:
    """Yield what a call amounts to if it calls what is passed to it."""
    _, function, arguments, keywords, *lines = call
    for position, argument in enumerate(arguments):
        if _is_name(argument) and len(arguments) + len(keywords) > position + 1:
            yield ("call", argument, arguments[position + 1 :], keywords, *lines)
    # sync_to_async(post)(url)
    if function and function[0] == "call" and function[2] and _is_name(function[2][0]):
        yield ("call", function[2][0], arguments, keywords, *lines)
    if target := spread(call):
        yield target


def _is_name(expression: Expression) -> bool:
    return expression is not None and expression[0] in {"name", "attr"}
