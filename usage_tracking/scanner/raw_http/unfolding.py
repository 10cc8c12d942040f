"""Where the parts of a request come from, for one chain of callers.

`Inference` says what an expression may be for all callers together. For a helper that serves many
services, that is everything they pass. `Unfolding` follows an expression back to the expressions
that make it, in a `Frame`: one call of a function, with the arguments that this call passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..facts import CLASS, FUNCTION, Binding, CodeScope, Expression
from ..inference.engine import Inference
from ..program import Ref, last_name
from ..values import FUNCTIONS, Class, Instance, Module
from .caller_frames import Argument, Frame, Receiver

#: An expression is followed over at most this many steps, of which so many are in one chain.
_MOST_STEPS = 1500
_DEEPEST = 30
#: Functions of libraries that return their first argument, perhaps wrapped.
_PASSES_ON = {
    *("closing", "aclosing", "nullcontext", "enter_context", "enter_async_context", "wait_for"),
    *("copy", "deepcopy", "run", "ensure_future", "create_task", "shield", "cast"),
}
#: Methods that add entries to a dict.
_ADDS_ENTRIES = {"update", "setdefault"}
_PROPERTIES = {"property", "cached_property", "lazy_property"}


@dataclass(slots=True)
class _Budget:
    steps: int = 0
    #: Functions whose unknown arguments or receiver were asked for.
    asked: set[Ref] = field(default_factory=set)
    #: An entry of a dict was asked for by a key that only callers know.
    is_guess: bool = False


class Unfolding:
    """Follows expressions back to what makes them."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.program = inference.program
        self._budget = _Budget()
        self._additions: dict[Ref, dict[str, list[Any]]] = {}

    def start(self) -> None:
        """Forget what was asked for, before the next request is judged."""
        self._budget = _Budget()

    @property
    def asked(self) -> set[Ref]:
        """The functions on whose callers the results since `start` depend."""
        return self._budget.asked

    @property
    def is_guess(self) -> bool:
        """Whether the results since `start` are those of callers who pass different keys."""
        return self._budget.is_guess

    def origins(self, expression: Expression, frame: Frame, depth: int = 0) -> Iterator[Argument]:
        """Yield the expressions that `expression` stands for, each with its frame.

        A name that nothing is known about stands for itself.
        """
        self._budget.steps += 1
        if expression is None or depth > _DEEPEST or self._budget.steps > _MOST_STEPS:
            return
        match expression[0]:
            case "name":
                found: Iterable[Argument] = self._of_name(expression, frame, depth + 1)
            case "attr":
                found = self._of_attribute(expression, frame, depth + 1)
            case "call":
                found = self._of_call(expression, frame, depth + 1)
            case "any":
                found = self._of_all(((part, frame) for part in expression[1]), depth + 1)
            case "entered":
                found = self.origins(expression[1], frame, depth + 1)
            case "from":
                found = self._of_import(expression, frame, depth + 1)
            case "index" if isinstance(expression[2], tuple):
                found = self._of_item(expression, frame, depth + 1)
            case _:
                found = [Argument(expression, frame)]
        yield from found

    def _of_all(self, parts: Iterable[tuple[Expression, Frame]], depth: int) -> Iterator[Argument]:
        for part, frame in parts:
            yield from self.origins(part, frame, depth)

    def _of_item(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        """Yield the entry of a dict whose key the caller passes: `ROUTES[route]`."""
        _, container, key = expression
        keys = [each.expression for each in self.origins(key, frame, depth)]
        found: list[Argument] = []
        if keys:
            for origin in self.origins(container, frame, depth):
                found += [value for name, value in self.entries(origin) if ("text", name) in keys]
                if found or origin.expression is None or origin.expression[0] != "table":
                    continue
                # Any entry, as long as no caller passes the key.
                self._budget.is_guess |= any(each and each[0] == "name" for each in keys)
        for value in found:
            yield from self.origins(value.expression, value.frame, depth)
        if not found:
            yield Argument(expression, frame)

    # Names

    def _of_name(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        _, name, position = expression
        at: Ref | None = frame.ref
        while at is not None:
            scope = self.program.scope(at)
            if scope.kind != CLASS or at == frame.ref:
                is_parameter = any(each.name == name for each in scope.parameters)
                bindings = scope.bindings.get(name, [])
                if bindings or is_parameter:
                    here = self.frame_of(frame, at)
                    known, is_complete = _visible(bindings, position if at == frame.ref else 0)
                    if is_parameter and not is_complete:
                        yield from self._of_parameter(name, here, depth)
                    for each in known:
                        source = here if each.scope == at[1] else Frame((at[0], each.scope))
                        yield from self.origins(each.value, source, depth)
                    for call in self._added(at, name):
                        yield Argument(call, here)
                    if is_parameter or any(not _is_entry(each) for each in bindings):
                        return
                    break  # `**keywords` with an entry that is set
            at = self.program.parent(at)
        if self.program.scope(frame.ref).kind != CLASS and frame.arguments is None:
            self._budget.asked.add(frame.ref)
        yield Argument(expression, frame)

    def frame_of(self, frame: Frame, ref: Ref) -> Frame:
        """Return the frame of a scope around the one of `frame`."""
        at: Frame | None = frame
        while at is not None:
            if at.ref == ref:
                return at
            at = at.outer
        return Frame(ref)

    def _of_parameter(self, name: str, frame: Frame, depth: int) -> Iterator[Argument]:
        scope = self.program.scope(frame.ref)
        passed = (frame.arguments or {}).get(name)
        if passed is not None:
            yield from self.origins(passed.expression, passed.frame, depth)
            return
        parameter = next(each for each in scope.parameters if each.name == name)
        around = Frame(self.program.parent(frame.ref) or frame.ref)
        yield from self.origins(parameter.default, around, depth)
        if frame.arguments is None:
            self._budget.asked.add(frame.ref)
            yield Argument(("name", name, 0), frame)

    def _added(self, ref: Ref, name: str) -> list[Any]:
        """Return the calls in a scope that add entries to a dict: `name.update(...)`."""
        if ref not in self._additions:
            found: dict[str, list[Any]] = {}
            for mention in self.program.scope(ref).calls:
                function = mention.expression[1]
                if function and function[0] == "attr" and function[2] in _ADDS_ENTRIES:
                    found.setdefault(last_name(function[1]), []).append(mention.expression)
            self._additions[ref] = found
        return self._additions[ref].get(name, [])

    def _of_import(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        _, dotted, level, name = expression
        file = self.program.resolve(frame.ref[0], dotted, level)
        found = list(self._exported(file, name, depth)) if file and file != frame.ref[0] else []
        yield from found or [Argument(expression, frame)]

    def _exported(self, file: str, name: str, depth: int) -> Iterator[Argument]:
        source = self.program.files.get(file)
        for each in source.scopes[0].bindings.get(name, ()) if source and source.scopes else ():
            yield from self.origins(each.value, Frame((file, each.scope)), depth)

    # Attributes

    def _of_attribute(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        _, owner, name = expression
        found: list[Argument] = []
        receivers = self.receivers(owner, frame, depth)
        for receiver, method in receivers:
            found += self._member(receiver, name, method, depth)
        if not receivers:
            for value in self.inference.of(owner, frame.ref):
                if isinstance(value, Module):
                    found += self._exported(value.file, name, depth)
        descendants = self.inference.classes.descendants
        if not found and any(descendants(receiver.cls) for receiver, _ in receivers):
            # Each subclass may have its own: `inference` would name all of them.
            expression = ("unknown", name)
        yield from found or [Argument(expression, frame)]

    def receivers(
        self, owner: Expression, frame: Frame, depth: int = 0
    ) -> list[tuple[Receiver, Frame | None]]:
        """Return the objects of the project that an expression may be.

        For `self`, also the frame of the method that it is the parameter of.
        """
        here = self._own_frame(owner, frame)
        if here is not None:
            cls = self.program.class_of(here.ref)
            return [(here.receiver or Receiver(cls), here)] if cls else []
        values = self.inference.of(owner, frame.ref)
        classes = [value.ref for value in values if isinstance(value, (Instance, Class))]
        if not classes:
            return []
        found: list[tuple[Receiver, Frame | None]] = []
        for origin in self.origins(owner, frame, depth):
            made = origin.expression
            if made and made[0] == "call":
                found += [
                    (Receiver(value.ref, origin), None)
                    for value in self.inference.of(made[1], origin.frame.ref)
                    if isinstance(value, Class)
                ]
        return found or [(Receiver(cls), None) for cls in classes]

    def _own_frame(self, owner: Expression, frame: Frame) -> Frame | None:
        """Return the frame of the method that `owner` is `self`, `cls` or `super()` in."""
        name = last_name(owner[1]) if owner and owner[0] == "call" else last_name(owner)
        if owner is None or owner[0] not in {"name", "call"} or not name:
            return None
        at: Ref | None = frame.ref
        while at is not None:
            scope = self.program.scope(at)
            if self.program.is_method(at):
                is_own = bool(scope.parameters) and scope.parameters[0].name == name
                return self.frame_of(frame, at) if is_own or name == "super" else None
            if name in scope.bindings:
                return None
            at = self.program.parent(at)
        return None

    def _member(
        self, receiver: Receiver, name: str, method: Frame | None, depth: int
    ) -> list[Argument]:
        """Return what an attribute of an object is set to, by the nearest class that sets it."""
        if method is not None and (method.receiver is None or receiver.made is None):
            # Another class or another object may have another value.
            self._budget.asked.add(method.ref)
        for cls in self.inference.classes.ancestry(receiver.cls):
            found: list[Argument] = []
            for value, frame in self._set_in(cls, name, receiver):
                found += self.origins(value, frame, depth)
            if found:
                return found
        return []

    def _set_in(
        self, cls: Ref, name: str, receiver: Receiver
    ) -> Iterator[tuple[Expression, Frame]]:
        program = self.program
        for binding in program.scope(cls).bindings.get(name, ()):
            value = binding.value
            if value and value[0] == "scope":
                method = (cls[0], value[1])
                scope = program.scope(method)
                if scope.kind == FUNCTION and _is_property(scope):
                    frame = Frame(method, {}, receiver=receiver)
                    yield from ((each, frame) for each in scope.returns)
            elif not _is_empty(value):
                yield value, Frame(cls)
        for ref, number in program.set_attributes.get(name, ()):
            if ref[0] == cls[0] and program.class_of(ref) == cls:
                owner, _, value = program.scope(ref).attributes[number]
                if owner and owner[0] == "name" and self._own_frame(owner, Frame(ref)):
                    yield value, self._method_frame(ref, receiver)

    def _method_frame(self, ref: Ref, receiver: Receiver) -> Frame:
        """Return the frame of a method of an object; of its `__init__`, with the arguments."""
        made = receiver.made
        if made is None or self.program.scope(ref).name != "__init__":
            return Frame(ref, receiver=receiver)
        if made.expression is None or self._constructor(receiver.cls) != ref:
            return Frame(ref, receiver=receiver)
        return self.called(ref, made.expression, made.frame, receiver)

    def _constructor(self, cls: Ref) -> Ref | None:
        for each in self.inference.classes.ancestry(cls):
            if found := self.program.methods(each).get("__init__"):
                return found[-1]
        return None

    # Calls

    def _of_call(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        function, arguments = expression[1], expression[2]
        found: list[Argument] = []
        for callee, receiver in self.callees(function, frame):
            inner = self.called(callee, expression, frame, receiver)
            for value in self.program.scope(callee).returns:
                found += self.origins(value, inner, depth)
        if not found and arguments and last_name(function) in _PASSES_ON:
            found += self.origins(arguments[0], frame, depth)
        yield from found or [Argument(expression, frame)]

    def callees(self, function: Expression, frame: Frame) -> list[tuple[Ref, Receiver | None]]:
        """Return the functions of the project that a call calls, with their receivers."""
        found: list[tuple[Ref, Receiver | None]] = []
        for value in self.inference.of(function, frame.ref):
            if isinstance(value, FUNCTIONS):
                found.append((value.ref, None))
        if function is None or function[0] != "attr" or not found:
            return found
        receivers = self.receivers(function[1], frame)
        if not receivers:
            return found
        receiver = receivers[0][0]
        for cls in self.inference.classes.ancestry(receiver.cls):
            if methods := self.program.methods(cls).get(function[2]):
                return [(methods[-1], receiver)]
        return [(callee, receiver) for callee, _ in found]

    def called(self, function: Ref, call: Any, frame: Frame, receiver: Receiver | None) -> Frame:
        """Return the frame of a function for a call of it in the frame `frame`."""
        scope = self.program.scope(function)
        names = [each.name for each in scope.parameters if not each.keyword_only]
        if self.program.is_method(function) and "staticmethod" not in {
            last_name(item) for item in scope.decorators
        }:
            names = names[1:]
        known = {each.name for each in scope.parameters}
        positional, keywords = self._passed(call, frame, scope.name)
        arguments = dict(zip(names, positional, strict=False))
        more = []
        for keyword, argument in keywords:
            if keyword in known:
                arguments[keyword] = argument
            else:
                more.append((keyword, argument))
        # A function in a function sees what that one was given.
        outer = frame if self.program.parent(function) == frame.ref else None
        rest = tuple(positional[len(names) :])
        return Frame(function, arguments, tuple(more), rest, receiver, outer)

    def _passed(
        self, call: Any, frame: Frame, name: str
    ) -> tuple[list[Argument], list[tuple[str, Argument]]]:
        """Return the arguments of a call of a function, with those that a `partial` has bound."""
        positional = self.positional(call[2], frame)
        keywords = self.keywords(call[3], frame)
        if last_name(call[1]) != name and (bound := self.partial(call[1], frame)):
            made = bound.expression or ()
            positional = self.positional(made[2][1:], bound.frame) + positional
            keywords = self.keywords(made[3], bound.frame) + keywords
        return positional, keywords

    def partial(self, function: Expression, frame: Frame) -> Argument | None:
        """Return the call `partial(...)` that made a function, None if none did."""
        for origin in self.origins(function, frame):
            made = origin.expression
            if made and made[0] == "call" and last_name(made[1]) == "partial" and made[2]:
                return origin
        return None

    def positional(self, arguments: Any, frame: Frame) -> list[Argument]:
        """Return positional arguments; `*arguments` gives those of the caller."""
        found: list[Argument] = []
        for each in arguments:
            if frame.more_arguments and self._is_variadic(each, frame):
                found += frame.more_arguments
            else:
                found.append(Argument(each, frame))
        return found

    def keywords(self, keywords: Any, frame: Frame) -> list[tuple[str, Argument]]:
        """Return keyword arguments; `**keywords` gives those of the caller or of a dict."""
        found: list[tuple[str, Argument]] = []
        for keyword, value in keywords:
            if keyword is not None:
                found.append((keyword, Argument(value, frame)))
                continue
            for origin in self.origins(value, frame):
                found += self.entries(origin)
        return found

    def entries(self, origin: Argument) -> list[tuple[str, Argument]]:
        """Return the entries of a literal dict, or of the `**keywords` of a frame."""
        expression, frame = origin.expression, origin.frame
        match expression:
            case ("name", _, _) if self._is_variadic(expression, frame):
                return list(frame.more_keywords)
            case ("table", pairs):
                return self._of_pairs(pairs, frame)
            case ("pipe", left, right):
                return self._of_dicts((left, right), frame)
            case ("call", function, arguments, keywords, *_):
                name = last_name(function)
                if name in {"dict", "update"}:
                    given = self.keywords(keywords, frame)
                    return [*self._of_dicts(arguments, frame), *given]
                if name == "setdefault" and arguments:
                    return self._of_pairs([(*arguments, None)[:2]], frame)
        return []

    def _of_pairs(self, pairs: Any, frame: Frame) -> list[tuple[str, Argument]]:
        found: list[tuple[str, Argument]] = []
        for key, value in pairs:
            if key is None:  # `**other`
                found += self._of_dicts([value], frame)
            elif key[0] == "text":
                found.append((key[1], Argument(value, frame)))
        return found

    def _of_dicts(self, dicts: Iterable[Expression], frame: Frame) -> list[tuple[str, Argument]]:
        origins = (origin for each in dicts for origin in self.origins(each, frame))
        return [entry for origin in origins for entry in self.entries(origin)]

    def _is_variadic(self, expression: Expression, frame: Frame) -> bool:
        """Return whether a name is that of the `*arguments` or `**keywords` of a function."""
        if expression is None or expression[0] != "name":
            return False
        scope = self.program.scope(frame.ref)
        name = expression[1]
        bindings = scope.bindings.get(name, ())
        return all(_is_entry(each) for each in bindings) and not any(
            each.name == name for each in scope.parameters
        )


def _visible(bindings: list[Binding], position: int) -> tuple[list[Binding], bool]:
    """Return the bindings that a use at `position` may see, and whether they hide all others."""
    relevant = [each for each in bindings if each.position <= position] if position else bindings
    found: list[Binding] = []
    for each in sorted(relevant or bindings, key=lambda each: each.position, reverse=True):
        found.append(each)
        if position and each.is_unconditional and each.position <= position:
            return found, True
    return found, False


def _is_entry(binding: Binding) -> bool:
    """Return whether a binding only adds an entry: `body["model"] = ...`."""
    value = binding.value
    is_one = value is not None and value[0] == "table" and len(value[1]) == 1
    return is_one and not binding.is_unconditional


def _is_empty(value: Expression) -> bool:
    """Return whether a class leaves an attribute to its subclasses: `url = ""`, `url: str = ""`."""
    if value and value[0] == "any":
        return bool(value[1]) and _is_empty(value[1][0])
    return value is None or value == ("text", "")


def _is_property(scope: CodeScope) -> bool:
    return any(last_name(each) in _PROPERTIES for each in scope.decorators)
