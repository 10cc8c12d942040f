"""Functions of the project: their results, parameters and callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..facts import LAMBDA, CodeScope, Expression, Mention
from ..program import Program, Ref, last_name, spelled
from ..values import (
    FUNCTIONS,
    NOTHING,
    AIObject,
    Class,
    Function,
    HTTPClient,
    Instance,
    Items,
    Library,
    Method,
    Table,
    Value,
    Values,
    is_known,
    is_reference_to,
)
from .composites import elements_of

if TYPE_CHECKING:
    from ..catalog import Target
    from .engine import Inference

#: At most this many calls of a function are looked at.
_MOST_CALLERS = 80
_CONSTRUCTORS = {"__init__", "__new__"}
#: Functions that call their first argument with the elements of the others.
_MAPPING = {"map", "filter", "starmap", "imap", "imap_unordered"}
#: Values that make the annotation of a result unnecessary.
_TELLING_RESULTS = (AIObject, Instance, HTTPClient, Class, Items, Table)


class Functions:
    """The results, parameters and callers of the functions of a program."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._program: Program = inference.program
        #: (file, name, class) → the calls of that name in the file and those that import it.
        self._near: dict[tuple[str, str, Ref | None], list[tuple[Ref, Mention]]] = {}

    # Results

    def result(self, function: Ref) -> Values:
        """Return what a function returns or yields."""
        return self._inference.once(("result", function), self._result, function)

    def _result(self, function: Ref) -> Values:
        scope = self._program.scope(function)
        found = self._inference.union(scope.returns, function)
        if not any(isinstance(value, _TELLING_RESULTS) for value in found):
            around = self._program.parent(function) or function
            found |= self._inference.annotations.instance(scope.returns_annotation, around)
        return found

    def results(self, functions: Values) -> Values:
        """Return what any function or method of the project among `functions` returns."""
        found: Values = NOTHING
        for value in functions:
            if isinstance(value, FUNCTIONS):
                found |= self.result(value.ref)
        return found

    # Functions that are requests

    def request(self, function: Ref) -> tuple[Target, str] | None:
        """Return what a function requests by its decorator, and how the decorator is spelled."""
        if not self.may_be_prompt(function):
            return None
        around = self._program.parent(function) or function
        for decorator in _decorators(self._program.scope(function)):
            for value in self._inference.of(decorator, around):
                if isinstance(value, Library) and (
                    target := self._inference.catalog.decorator(value.dotted)
                ):
                    return target, spelled(decorator)
        return None

    def may_be_prompt(self, function: Ref) -> bool:
        """Return whether a function has a decorator with the name of one that calls a model."""
        known = self._inference.catalog.decorator_names
        for decorator in _decorators(self._program.scope(function)):
            name = last_name(decorator)
            if name in known:
                return True
            for binding in self._program.scope((function[0], 0)).bindings.get(name, ()):
                if binding.value and binding.value[0] == "from" and binding.value[3] in known:
                    return True
        return False

    def is_request(self, value: Value) -> bool:
        """Return whether a call of `value` itself is a request."""
        match value:
            case AIObject(path=path):
                return bool(path)
            case Library(dotted):
                return self._inference.catalog.function(dotted) is not None
            case Function(function) | Method(function):
                return self.request(function) is not None
        return False

    # Parameters

    def parameter(self, function: Ref, name: str) -> Values:
        """Return what a parameter of a function may be."""
        key = "parameter", function, name
        return self._inference.once(key, self._parameter, function, name)

    def _parameter(self, function: Ref, name: str) -> Values:
        scope = self._program.scope(function)
        cls = self._program.parent(function)
        if self._program.is_method(function) and scope.parameters[0].name == name and cls:
            decorators = {last_name(item) for item in scope.decorators}
            if "staticmethod" not in decorators:
                if "classmethod" in decorators or name == "cls":
                    return frozenset([Class(cls)])
                return frozenset([Instance(cls, is_open=True)])
        parameter = next(each for each in scope.parameters if each.name == name)
        around = cls or function
        found = self._inference.annotations.instance(parameter.annotation, around)
        found |= self._inference.of(parameter.default, around)
        if scope.kind == LAMBDA:
            return found | self._mapped(function, name)
        if any(isinstance(value, (AIObject, HTTPClient)) for value in found):
            return found
        return found | self._passed(function, scope, name)

    def _passed(self, function: Ref, scope: CodeScope, name: str) -> Values:
        """Return what callers pass as a parameter."""
        index = next(i for i, each in enumerate(scope.parameters) if each.name == name)
        keyword_only = scope.parameters[index].keyword_only
        if self._program.is_method(function):
            index -= "staticmethod" not in {last_name(item) for item in scope.decorators}
        found = self._passed_by_callers(function, name, None if keyword_only else index)
        if not keyword_only and index >= 0:
            found |= self._passed_along(function, scope.name, index)
        if not found and not self._program.is_method(function):
            found = self._of_outer_functions(function, name)
        # A method or function that calls a model is a site where it is passed, not here.
        return frozenset(value for value in found if not self.is_request(value))

    def _passed_by_callers(self, function: Ref, name: str, index: int | None) -> Values:
        found: Values = NOTHING
        for ref, call in self.callers(function, by_name=True):
            _, _, arguments, keywords, *_ = call.expression
            for keyword, value in keywords:
                if keyword == name:
                    found |= self._inference.of(value, ref)
            if index is not None and index < len(arguments):
                found |= self._inference.of(arguments[index], ref)
        return found

    def _passed_along(self, function: Ref, name: str, index: int) -> Values:
        """Return what follows a function among arguments: `run(function, client)`."""
        found: Values = NOTHING
        for ref, call, position in self._program.passed_named.get(name, ())[:_MOST_CALLERS]:
            if not self._program.is_relevant(ref, call):
                continue
            arguments = call.expression[2][position + 1 :]
            if index < len(arguments) and is_reference_to(
                function, self._inference.of(call.expression[2][position], ref)
            ):
                passed = self._inference.of(arguments[index], ref)
                is_mapped = last_name(call.expression[1]) in _MAPPING
                found |= elements_of(passed) if is_mapped else passed
        return found

    def _mapped(self, function: Ref, name: str) -> Values:
        """Return what `map` passes to a lambda."""
        around = self._program.parent(function)
        scope = self._program.scope(function)
        if around is None:
            return NOTHING
        index = next(i for i, each in enumerate(scope.parameters) if each.name == name)
        found: Values = NOTHING
        for call in self._program.scope(around).calls:
            _, callee, arguments, *_ = call.expression
            if ("scope", function[1]) in arguments and last_name(callee) in _MAPPING:
                iterated = arguments[1:][index : index + 1]
                found |= elements_of(self._inference.union(iterated, around))
        return found

    def _of_outer_functions(self, function: Ref, name: str) -> Values:
        """Return what has the name of a parameter in the functions around."""
        found: Values = NOTHING
        around = self._program.parent(function)
        while around is not None and around[1] > 0:
            outer = self._program.scope(around)
            if name in outer.bindings:
                found |= self._inference.bound(outer.bindings[name], 0, around)[0]
            around = self._program.parent(around)
        return found

    # Callers

    def callers(self, function: Ref, *, by_name: bool = False) -> list[tuple[Ref, Mention]]:
        """Return the calls of a function, each with the scope that it is in.

        With `by_name`, calls on an unknown object count if no other function has the name: enough
        to guess what a parameter is, not to say which code runs.
        """
        scope = self._program.scope(function)
        cls = self._program.parent(function) if self._program.is_method(function) else None
        candidates = self._candidates(function, scope.name, cls)
        if by_name:
            candidates = [each for each in candidates if self._program.is_relevant(*each)]
        found = []
        is_unique = by_name and len(self._program.functions_named.get(scope.name, ())) == 1
        for ref, call in candidates[:_MOST_CALLERS]:
            callee = call.expression[1]
            values = self._inference.of(callee, ref)
            if self._is_call_of(values, function, cls) or (
                is_unique and cls and callee[0] == "attr" and not is_known(values)
            ):
                found.append((ref, call))
        return found

    def may_have_more_callers(self, function: Ref) -> bool:
        """Return whether too many calls have a function's name for `callers` to look at all."""
        name = self._program.scope(function).name
        return len(self._program.calls_named.get(name, ())) > _MOST_CALLERS

    def _candidates(self, function: Ref, name: str, cls: Ref | None) -> list[tuple[Ref, Mention]]:
        """Return the calls whose name fits a function."""
        if cls and (name in _CONSTRUCTORS or name == "__call__"):
            candidates: list[tuple[Ref, Mention]] = []
            classes = self._inference.classes
            for each in (cls, *classes.descendants(cls)) if name != "__call__" else ():
                candidates += self._program.calls_named.get(self._program.scope(each).name, ())
                candidates += self._program.making.get(each, ())
        else:
            candidates = self._program.calls_named.get(name, [])
        if len(candidates) > _MOST_CALLERS:
            # A common name: calls of this very function are in files that import its file.
            key = function[0], name, cls
            if key not in self._near:
                self._near[key] = [
                    (ref, call)
                    for ref, call in candidates
                    if ref[0] == function[0] or function[0] in self._program.imported_by(ref[0])
                ]
            return self._near[key]
        return candidates

    def _is_call_of(self, values: Values, function: Ref, cls: Ref | None) -> bool:
        if is_reference_to(function, values):
            return True
        if cls is None:
            return False
        ancestry = self._inference.classes.ancestry
        makes_object = any(
            isinstance(value, Class)
            and (
                value.ref == cls
                or (cls in ancestry(value.ref) and self._constructor(value.ref) == function)
            )
            for value in values
        )
        return makes_object and self._program.scope(function).name in _CONSTRUCTORS

    def _constructor(self, cls: Ref) -> Ref | None:
        for each in self._inference.classes.ancestry(cls):
            if found := self._program.methods(each).get("__init__"):
                return found[-1]
        return None


def _decorators(function: CodeScope) -> list[Expression]:
    """Return the decorators of a function, those with arguments without them."""
    return [item[1] if item and item[0] == "call" else item for item in function.decorators]
