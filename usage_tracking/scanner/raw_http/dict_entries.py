"""The entries of dicts, for one chain of callers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import last_name
from .caller_frames import Argument, Frame

if TYPE_CHECKING:
    from .unfolding import Unfolding


class DictEntries:
    """Finds the entries of literal dicts, of calls that make or extend a dict, and of keywords."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding

    def entries(self, origin: Argument) -> list[tuple[str, Argument]]:
        """Return the entries of a literal dict, or of the `**keywords` of a frame."""
        expression, frame = origin.expression, origin.frame
        match expression:
            case ("name", _, _) if self._unfolding.variables.is_variadic(expression, frame):
                return list(frame.more_keywords)
            case ("table", pairs):
                return self._of_pairs(pairs, frame)
            case ("pipe", left, right):
                return self._of_dicts((left, right), frame)
            case ("call", function, arguments, keywords, *_):
                name = last_name(function)
                if name in {"dict", "update"}:
                    given = self._unfolding.calls.keywords(keywords, frame)
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
        origins = (origin for each in dicts for origin in self._unfolding.origins(each, frame))
        return [entry for origin in origins for entry in self.entries(origin)]
