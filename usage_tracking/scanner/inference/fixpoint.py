"""Memory for functions that depend on each other in circles; see `engine`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..values import NOTHING, Values, order

#: At most this many values of one expression are kept.
MOST_VALUES = 24
_MOST_ROUNDS = 3
_DEEPEST = 160
_INDEPENDENT = 1 << 30


class Fixpoint:
    """Evaluates each key at most once a round, until two rounds agree."""

    def __init__(self) -> None:
        #: Results that depend on no guess.
        self._final: dict[Any, Values] = {}
        #: Results that depend on a guess, of this round and of the last.
        self._provisional: dict[Any, Values] = {}
        self._previous: dict[Any, Values] = {}
        #: Key that is being evaluated → its depth.
        self._active: dict[Any, int] = {}
        #: The depth of the outermost key whose value was guessed since the current key began.
        self._outermost_guess = _INDEPENDENT

    def run(self, evaluate_all: Callable[[], None]) -> None:
        """Call `evaluate_all` once a round; the results of the last round become final."""
        for _ in range(_MOST_ROUNDS):
            evaluate_all()
            if self._provisional == self._previous:
                break
            self._previous, self._provisional = self._provisional, {}
        self._final |= self._provisional or self._previous

    def once(self, key: Any, function: Callable[..., Values], *arguments: Any) -> Values:
        """Return `function(*arguments)`, remembered as `key`.

        While `key` itself is being evaluated, return its value of the last round.
        """
        known = self._final.get(key)
        if known is not None:
            return known
        known = self._provisional.get(key)
        if known is not None:
            # It depends on some guess, so what depends on it is provisional too.
            self._outermost_guess = -1
            return known
        depth = len(self._active)
        if key in self._active or depth > _DEEPEST:
            self._outermost_guess = min(self._outermost_guess, self._active.get(key, 0))
            return self._previous.get(key, NOTHING)
        self._active[key] = depth
        outer_guess, self._outermost_guess = self._outermost_guess, _INDEPENDENT
        try:
            found = function(*arguments)
        finally:
            del self._active[key]
        if len(found) > MOST_VALUES:
            # An AI object matters more than a text.
            found = frozenset(sorted(found, key=order)[:MOST_VALUES])
        if self._outermost_guess >= depth:
            # No guess, or only of this key: what a set adds to itself is nothing new.
            self._final[key] = found
            self._outermost_guess = outer_guess
        else:
            self._provisional[key] = found
            self._outermost_guess = min(outer_guess, self._outermost_guess)
        return found
