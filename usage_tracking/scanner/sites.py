"""The call sites: every expression that makes a request to a model."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .catalog import Catalog
from .evidence.call_shapes import TAKES_MESSAGES, CallShapes
from .evidence.confidence import Evidence
from .evidence.inherited import may_be_private_request
from .evidence.receivers import Receivers
from .evidence.request_shapes import KINDS
from .evidence.unseen_objects import OpaqueClients
from .facts import CodeScope, Mention
from .inference.engine import Inference
from .program import Program, Ref, last_name, spelled
from .raw_http.raw_requests import HTTP_METHODS, RawRequests
from .values import FUNCTIONS, AIObject, Class, Instance, Value

_BUILTINS = frozenset(vars(builtins))


@dataclass(slots=True)
class Site:
    """A call that calls a model, and how that is known."""

    ref: Ref
    mention: Mention
    line: int
    end_line: int
    call: str
    kind: str
    provider: str
    transport: str
    is_recorded: bool | None
    confidence: str
    reason: str


class Sites:
    """Finds the sites of a program."""

    def __init__(self, program: Program, inference: Inference, catalog: Catalog) -> None:
        self._program = program
        self._inference = inference
        self._catalog = catalog
        self._receivers = Receivers(inference, catalog)
        self._shapes = CallShapes(program, inference, catalog)
        self._opaque = OpaqueClients(program, inference, catalog)
        self._requests = RawRequests(inference, catalog)
        #: Functions that a decorator may turn into a request.
        self._prompts = {
            scope.name
            for ref, scope in program.scopes()
            if scope.decorators and inference.functions.may_be_prompt(ref)
        }
        self._names = catalog.methods | TAKES_MESSAGES | KINDS.keys() | HTTP_METHODS | self._prompts

    def candidates(self) -> list[tuple[Any, Ref]]:
        """Return the expressions that have to be evaluated before `find`."""
        found = []
        for ref, scope in self._program.scopes():
            for call in self._program.relevant(scope.calls, ref):
                function = call.expression[1]
                if function and self._may_be_site(function, ref):
                    found.append((function, ref))
        return found

    def find(self) -> list[Site]:
        """Return all sites, in the order of files and lines."""
        found: dict[tuple[str, int, str], Site] = {}
        for ref, scope in self._program.scopes():
            try:
                for site in self._in(ref, scope):
                    found.setdefault((ref[0], site.line, site.call), site)
            except Exception as error:  # noqa: BLE001 -- the report names it
                self._inference.faults[ref[0]] = f"{type(error).__name__}: {error}"
        return sorted(found.values(), key=lambda site: (site.ref[0], site.line))

    def _may_be_site(self, function: Any, ref: Ref) -> bool:
        """Return whether a call of `function` can be a site at all, by its name."""
        name = last_name(function)
        if function[0] == "name" and name in _BUILTINS:
            # Hardly any code gives another meaning to such a name.
            scopes = self._program.files[ref[0]].scopes
            return any(name in scope.bindings for scope in (scopes[0], scopes[ref[1]]))
        if function[0] != "attr" or name in self._names:
            return True
        if may_be_private_request(name, self._catalog.methods):
            return True
        if name[:1].isupper() and function[1] and function[1][0] in {"name", "attr"}:
            return True  # a client that is generated, with a method for each prompt
        # `self.chain(...)`: an attribute that may hold an object which is called.
        return name in self._program.set_attributes

    def _in(self, ref: Ref, scope: CodeScope) -> Iterator[Site]:
        for call in self._program.relevant(scope.calls, ref):
            function = call.expression[1]
            known = function and self._may_be_site(function, ref) and self._of_call(call, ref)
            if evidence := known or self._requests.evidence(call):
                yield _site(call, ref, evidence)
            if passed_on := self._of_passed_on(call, ref):
                yield passed_on
        for mention in self._program.relevant(scope.mentions, ref):
            if mention.is_argument and (passed := self._of_passed(mention, ref)):
                yield _site(mention, ref, passed)

    def _of_call(self, call: Mention, ref: Ref) -> Evidence | None:
        function = call.expression[1]
        values = self._inference.of(function, ref)
        if known := self._receivers.best(values, function, ref):
            is_local = self._inference.calls.is_local
            if function[0] == "attr" and is_local(call.expression, ref):
                return None
            is_reached = self._inference.calls.is_reached
            target = known.target
            return replace(
                known, target=target.sent_to(is_reached(target.provider, call.expression, ref))
            )
        if any(self._is_of_functions(value) for value in values):
            return None
        if function[0] == "attr" and function[2] == "post" and call.expression[2]:
            texts = self._inference.texts(call.expression[2][0], ref)
            return self._receivers.of_path(values, texts, function)
        if any(isinstance(value, (*FUNCTIONS, Class)) for value in values):
            return self._opaque.evidence(call, ref, values)  # a protocol declares it
        return self._shapes.evidence(call, ref, values) or self._opaque.evidence(call, ref, values)

    def _is_of_functions(self, value: Value) -> bool:
        """Return whether an object runs functions of the project, which are sites themselves."""
        return isinstance(value, AIObject) and not self._inference.composites.calls_model(value)

    def _of_passed_on(self, call: Mention, ref: Ref) -> Site | None:
        """Return the site of a client's method that a call gets with its arguments."""
        _, _, arguments, keywords, line, end_line = call.expression
        for index, method in enumerate(arguments):
            if method and method[0] == "attr" and method[2] in KINDS:
                values = self._inference.of(method, ref)
                made = ("call", method, arguments[index + 1 :], keywords, line, end_line)
                inner = Mention(made, call.nesting, call.line)
                if not self._receivers.best(values, method, ref) and (
                    known := self._opaque.evidence(inner, ref, values)
                ):
                    reason = f"passed uncalled; {known.reason}"
                    return _site(inner, ref, replace(known, reason=reason))
        return None

    def _of_passed(self, mention: Mention, ref: Ref) -> Evidence | None:
        """Return the evidence of a method that is passed uncalled: `retry(client.chat, …)`."""
        expression = mention.expression
        if not self._may_be_method(expression, ref):
            return None
        values = self._inference.of(expression, ref)
        known = self._receivers.best(values, expression, ref)
        if known and any(map(self._inference.functions.is_request, values)):
            return replace(known, reason=f"passed uncalled; {known.reason}")
        if expression[0] != "attr" or any(
            isinstance(value, (*FUNCTIONS, Instance, Class)) for value in values
        ):
            return None
        return self._shapes.of_passed_method(expression)

    def _may_be_method(self, expression: Any, ref: Ref) -> bool:
        """Return whether a name or attribute can be a method that calls a model at all."""
        methods = self._catalog.methods | self._prompts
        if expression[0] == "attr":
            return expression[2] in methods
        if expression[1] in self._prompts:
            return True
        for scope in (self._program.scope(ref), self._program.scope((ref[0], 0))):
            for binding in scope.bindings.get(expression[1], ()):
                value = binding.value
                if value and value[0] in {"attr", "from"} and value[-1] in methods:
                    return True
        return False


def _site(mention: Mention, ref: Ref, evidence: Evidence) -> Site:
    expression = mention.expression
    is_call = expression[0] == "call"
    return Site(
        ref=ref,
        mention=mention,
        line=mention.line,
        end_line=expression[5] if is_call else mention.line,
        call=spelled(expression[1] if is_call else expression),
        kind=evidence.target.kind,
        provider=evidence.target.provider,
        transport=evidence.target.transport,
        is_recorded=evidence.target.is_recorded,
        confidence=evidence.confidence,
        reason=evidence.reason,
    )
