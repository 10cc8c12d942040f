"""Evidence from HTTP requests that the project sends itself, without an SDK.

A request whose URL or body comes from the callers of a function is judged once for each caller,
with what this caller passes. A helper that serves many services is not a site; its callers that
ask a model are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..catalog import Catalog
from ..evidence.confidence import NAME_ONLY, Evidence
from ..facts import FUNCTION, Mention
from ..inference.engine import Inference
from ..program import Ref
from .caller_frames import Frame
from .http_requests import SENDING, Call, HTTPRequests
from .indirect_calls import IndirectCalls
from .model_requests import ModelRequests, functions_around
from .request_bodies import RequestBodies
from .sending_calls import SendingCalls
from .unfolding import Unfolding
from .url_texts import URLTexts

#: Names of calls that may send a request.
HTTP_METHODS = SENDING
#: A request is followed through so many functions, and through so many calls in all.
_MOST_HOPS = 4
_MOST_CALLS = 400


@dataclass(frozen=True, slots=True)
class _Hop:
    """A call of the function that a request is in, or of one that leads there."""

    function: Ref
    #: The scope in the function that the request, or the call before, is in.
    inner: Ref
    #: The call, as an expression with the arguments for the function.
    call: Any
    caller: Ref


@dataclass(frozen=True, slots=True)
class _Caller:
    """A call that supplies what makes a request one to a model."""

    ref: Ref
    mention: Mention
    evidence: Evidence
    #: The function that sends the request, and the place.
    helper: str
    #: How many calls it is away from the request.
    hops: int

    def through(self) -> Evidence:
        """Return the evidence, whose reason names the helper."""
        return replace(self.evidence, reason=f"{self.evidence.reason} through {self.helper}")


class RawRequests:
    """Judges calls that send HTTP requests."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference = inference
        self._program = inference.program
        self._unfolding = Unfolding(inference)
        texts = URLTexts(self._unfolding)
        http = HTTPRequests(self._unfolding, texts, catalog)
        bodies = RequestBodies(self._unfolding)
        self._requests = ModelRequests(self._program, catalog, http, texts, bodies)
        self._sending = SendingCalls(inference, catalog, self._unfolding, http, self._requests)
        self._calls = IndirectCalls(inference)
        #: Identity of a call → its evidence; None until all requests have been judged.
        self._found: dict[int, Evidence] | None = None

    def evidence(self, call: Mention) -> Evidence | None:
        """Return the evidence of a call, None if it sends no request to a model."""
        if self._found is None:
            self._found = {}
            for ref, scope in self._program.scopes():
                for mention in self._program.relevant(scope.calls, ref):
                    try:
                        self._judge_all(mention, ref)
                    except Exception as error:  # noqa: BLE001 -- the report names it
                        self._inference.faults[ref[0]] = f"{type(error).__name__}: {error}"
        return self._found.get(id(call))

    def _judge_all(self, mention: Mention, ref: Ref) -> None:
        """Judge a request for itself, then for each caller that supplies its URL or body."""
        call = self._sending.of(mention, ref)
        if call is None or self._found is None:
            return
        self._unfolding.start()
        evidence = self._requests.evidence(call, Frame(ref))
        if evidence is None or evidence.confidence == NAME_ONLY or self._unfolding.is_guess:
            callers = self._without_partials(self._follow(call, ref, mention, (), [_MOST_CALLS]))
            if len(callers) == 1 and self._is_only_caller(callers[0], ref):
                evidence = callers[0].evidence
            elif callers:
                evidence = None
                for each in callers:
                    self._found.setdefault(id(each.mention), each.through())
        if evidence:
            self._found.setdefault(id(mention), evidence)

    def _follow(
        self, call: Call, ref: Ref, mention: Mention, hops: tuple[_Hop, ...], left: list[int]
    ) -> list[_Caller]:
        """Judge a request for each caller of the function that it is in; return the sites.

        `left` is the number of calls that may still be looked at.
        """
        found: list[_Caller] = []
        for function in list(self._open_functions(ref)):
            if any(hop.function == function for hop in hops):
                continue
            for caller, place, expression in self._calls.of(function):
                if left[0] <= 0:
                    break
                left[0] -= 1
                further = (*hops, _Hop(function, ref, expression, caller))
                self._unfolding.start()
                if evidence := self._requests.evidence(call, self._frame(further)):
                    helper = self._program.scope(hops[0].function if hops else function)
                    name = f"{helper.name}()" if helper.kind == FUNCTION else "a lambda"
                    where = f"{name} in {(hops[0] if hops else further[0]).inner[0]}:{mention.line}"
                    found.append(_Caller(caller, place, evidence, where, len(further)))
                elif len(further) < _MOST_HOPS:
                    found += self._follow(call, caller, mention, further, left)
        return found

    def _without_partials(self, callers: list[_Caller]) -> list[_Caller]:
        """Leave out each `ask = partial(post, url)` if a call of `ask` is among the callers."""
        called = set()
        for each in callers:
            if made := self._unfolding.calls.partial(each.mention.expression[1], Frame(each.ref)):
                called.add((made.frame.ref[0], made.expression))
        return [each for each in callers if (each.ref[0], each.mention.expression) not in called]

    def _is_only_caller(self, caller: _Caller, ref: Ref) -> bool:
        """Return whether the function of a request only serves this caller."""
        if caller.hops != 1 or caller.ref[0] != ref[0]:
            return False
        return all(
            len(list(self._calls.of(each))) <= 1 for each in functions_around(self._program, ref)
        )

    def _open_functions(self, ref: Ref) -> Iterator[Ref]:
        """Yield the functions at and around a scope on whose callers the last judgement depends."""
        asked = self._unfolding.asked
        return (each for each in functions_around(self._program, ref) if each in asked)

    def _frame(self, hops: Sequence[_Hop]) -> Frame:
        """Return the frame of the request for a chain of callers."""
        frame = Frame(hops[-1].caller)
        for hop in reversed(hops):
            receiver = None
            for callee, found in self._unfolding.calls.callees(hop.call[1], frame):
                if callee == hop.function:
                    receiver = found
            frame = self._unfolding.calls.frame(hop.function, hop.call, frame, receiver)
            if hop.inner != hop.function:
                frame = Frame(hop.inner, outer=frame)
        return frame
