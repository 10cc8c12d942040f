"""Where the code of generators and coroutines runs: where their results are consumed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..facts import Mention
from ..inference import expression_index as at
from ..inference.engine import Inference
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS
from .run_places import LATER, STREAM, Run, RunPlaces, lost

_DEEPEST = 8
#: Functions that iterate over what they get when their result is iterated over.
LAZY = {
    *("map", "filter", "zip", "enumerate", "iter", "aiter", "islice", "chain", "starmap"),
    *("takewhile", "dropwhile", "tee", "from_iterable"),
}
#: Responses whose body is consumed when the view has ended.
_STREAMS = re.compile(r"Stream|^FileResponse$|EventSource")


class Consumption:
    """The consumption of the generators and coroutines of a program."""

    def __init__(self, program: Program, inference: Inference, places: RunPlaces) -> None:
        self._program = program
        self._inference = inference
        self._places = places

    def of(self, value: Any, ref: Ref, mention: Mention, depth: int = 0) -> Iterator[Run]:
        """Yield where the code behind the result of a call runs: where that is consumed."""
        found = self._places.index(ref).position(value)
        if mention.is_awaited or found is None or depth > _DEEPEST:
            yield self._places.call(mention, ref)
            return
        unknown_block = Run(ref, mention.line)  # somewhere in this function
        match found.role:
            case at.ARGUMENT:
                yield from self._as_argument(found, ref, mention, depth)
            case at.PART:
                yield from self.of(found.around, ref, mention, depth + 1)
            case at.RETURNED:
                yield replace(unknown_block, when=LATER)
            case at.SET:
                yield lost(ref, mention.line, f"is kept in the attribute {found.name}")
            case at.BOUND:
                yield from self._by_name(str(found.name), ref, mention, depth)
            case _:
                yield self._places.call(mention, ref)

    def of_call(self, call: Mention, ref: Ref) -> Run:
        """Return where a call runs: later in a generator expression that a response streams."""
        index = self._places.index(ref)
        found = index.position(call.expression)
        while found and found.role == at.PART:
            container, found = found.around, index.position(found.around)
            if (
                container[0] == "items"
                and found
                and found.role == at.ARGUMENT
                and (_STREAMS.search(last_name(found.around[1])))
            ):
                return replace(self._places.call(call, ref, STREAM), layers=())
        return self._places.call(call, ref)

    def _as_argument(
        self, found: Position, ref: Ref, mention: Mention, depth: int
    ) -> Iterator[Run]:
        call = self._places.index(ref).calls[id(found.around)]
        function = found.around[1]
        name = last_name(function)
        is_lazy = name in LAZY and function[0] == "name"
        if _STREAMS.search(name):
            yield replace(self._places.call(call, ref, STREAM), layers=())
        elif is_lazy or self._is_generator(function, ref):
            yield from self.of(found.around, ref, call, depth + 1)
        elif name[:1].isupper() and "Response" not in name:
            yield lost(ref, mention.line, f"is kept in {name}(…)")
        else:
            yield self._places.call(call, ref)

    def _by_name(self, name: str, ref: Ref, mention: Mention, depth: int) -> Iterator[Run]:
        """Yield where a result is consumed that is bound to a variable."""
        index = self._places.index(ref)
        uses = index.names.get(name, ())
        for use in uses:
            found = index.position(use)
            if found and found.role in {at.ARGUMENT, at.RETURNED, at.PART} and depth < _DEEPEST:
                yield from self.of(use, ref, replace(mention, is_awaited=False), depth + 1)
            elif self._places.is_still_inside(mention, use[2] >> 12, ref):
                yield self._places.call(mention, ref)
            else:
                yield Run(ref, mention.line)
        if not uses:
            yield Run(ref, mention.line)

    def _is_generator(self, function: Any, ref: Ref) -> bool:
        return any(
            isinstance(value, FUNCTIONS) and self._program.scope(value.ref).is_generator
            for value in self._inference.of(function, ref)
        )
