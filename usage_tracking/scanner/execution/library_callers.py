"""Where a library runs a function that it is given: a thread, a signal, a transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..facts import FUNCTION, Expression, Mention
from ..inference import expression_index as at
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name
from .dotted_names import DottedNames
from .run_places import LATER, Run, RunPlaces, lost

#: Classes of threads.
THREADS = {"Thread", "Timer"}
#: Methods of pools whose argument runs in the pool.
POOL_METHODS = {
    *("submit", "map", "imap", "imap_unordered", "starmap", "apply", "apply_async", "map_async"),
    *("starmap_async", "run_in_executor"),
}
#: Why a function has no section.
IN_THREAD = "runs in a thread, which inherits no section (AI_USAGE_PROPAGATE_THREADS is False)"

#: Methods whose argument runs in a thread or greenlet, whatever they belong to.
_TO_THREADS = {
    *("submit", "run_in_executor", "imap", "imap_unordered", "apply_async", "map_async"),
    *("starmap_async", "spawn", "spawn_later", "start_new_thread"),
}
#: Names of pools of threads, and of their classes.
_POOL = re.compile(r"pool|executor|thread|gevent", re.IGNORECASE)
_PROCESSES = re.compile(r"Process|^Pool$")
#: Parts of the names of such functions; see `calls_at_once`.
_CALLS_AT_ONCE = re.compile(
    r"retry|attempt|call(?!back|_later|_at|_soon)|^run|^exec|invoke|apply|submit|wait|gather|timed?"
    r"|measure|get_or|safe|^try|spawn|^a?map$|wrap|sorted|^sort$|^min$|^max$|reduce|^any$|^all$"
    r"|^sum$|to_thread|create_task|ensure_future|start_soon|sync|groupby|timeout|shield"
)


def calls_at_once(name: str) -> bool:
    """Return whether a function, judged by its name, calls its argument in the scope of its caller.

    It calls the argument before it returns, or carries the scope to where it calls it.
    """
    return _CALLS_AT_ONCE.search(name) is not None


class LibraryCallers:
    """The runs of functions that code passes to a library."""

    def __init__(
        self, program: Program, names: DottedNames, places: RunPlaces, *, reaches_threads: bool
    ) -> None:
        self._program = program
        self._names = names
        self._places = places
        #: Whether threads inherit the section of the code that starts them.
        self.reaches_threads = reaches_threads

    def special(self, name: str, function: Any, call: Mention, ref: Ref) -> list[Run]:
        """Return the runs of what is passed to functions that decide when and where it runs."""
        if name == "propagate":
            return [self._places.call(call, ref)]  # it binds the scope to the function
        if name == "on_commit":
            return [self._on_commit(call, ref)]
        first = next(iter(call.expression[2]), None)
        if first and last_name(first) == "run" and (copied := self._copied_context(first, ref)):
            return [copied]  # submit(context.run, function)
        if name == "run" and (copied := self._copied_context(function, ref)):
            return [copied]
        if name == "connect" and function[0] == "attr":
            return list(self._signals(function, ref))
        return []

    def _on_commit(self, call: Mention, ref: Ref) -> Run:
        """Return the run of what is passed to `on_commit`: when the transaction ends."""
        managers = self._places.managers(call, ref)
        names = [last_name(item[1] if item and item[0] == "call" else item) for item in managers]
        if "atomic" in names:
            outside = managers[: names.index("atomic")]
            return Run(ref, call.line, ((outside, ref),))
        return Run(ref, call.line, when=LATER)

    def _copied_context(self, function: Any, ref: Ref) -> Run | None:
        """Return the place where `copy_context()` made the context in which `run` calls."""
        context = function[1] if function[0] == "attr" else None
        for value, at_scope in ((context, ref), *self._names.bindings(context, ref)):
            if value and value[0] == "call" and last_name(value[1]) == "copy_context":
                call = self._places.index(at_scope).calls.get(id(value))
                return self._places.call(call, at_scope) if call else None
        return None

    def _signals(self, function: Any, ref: Ref) -> Iterator[Run]:
        """Yield where a signal of the project is sent, whose receivers run at once."""
        made = [id(v) for v, _ in self._names.bindings(function[1], ref) if _makes(v, "Signal")]
        for method in ("send", "send_robust", "asend", "asend_robust") if made else ():
            for at_scope, call in self._program.calls_named.get(method, ()):
                owner = call.expression[1]
                if owner[0] == "attr" and any(
                    id(value) in made for value, _ in self._names.bindings(owner[1], at_scope)
                ):
                    yield self._places.call(call, at_scope)

    def started(self, thread: Any, ref: Ref, line: int) -> Iterator[Run]:
        """Yield where a thread is started, whose scope it inherits."""
        index = self._places.index(ref)
        found = index.position(thread)
        owners: Iterable[Position | None] = ()
        if found and found.role == at.OWNER:
            owners = (found,)
        elif found and found.role == at.BOUND and self._program.scope(ref).kind == FUNCTION:
            owners = (index.position(use) for use in index.names.get(str(found.name), ()))
        is_started = False
        for owner in owners:
            if owner and owner.role == at.OWNER and owner.name == "start":
                called = index.position(owner.around)
                if called and called.role == at.CALLEE:
                    is_started = True
                    yield self._places.call(index.calls[id(called.around)], ref)
        if not is_started:
            yield lost(ref, line, "is the target of a thread, which is started elsewhere")

    def loses_section(self, call: Any, ref: Ref, *, is_request: bool = False) -> bool:
        """Return whether a call passes its arguments to a thread that inherits no section.

        With `is_request`, the call may itself be the request of an SDK: `client.submit(…)`.
        """
        if self.reaches_threads or not call[1]:
            return False
        function = call[1]
        name = last_name(function)
        if name in THREADS or (name in _TO_THREADS and not is_request):
            return True
        if function[0] != "attr" or name not in _TO_THREADS | POOL_METHODS:
            return False
        return bool(_POOL.search(last_name(function[1]))) or self._is_made_by(_POOL, call, ref)

    def is_process(self, call: Any, ref: Ref) -> bool:
        """Return whether a pool runs its jobs in other processes."""
        return self._is_made_by(_PROCESSES, call, ref)

    def _is_made_by(self, kind: re.Pattern[str], call: Any, ref: Ref) -> bool:
        """Return whether the pool that gets the job of a call is of a kind, by its class."""
        _, function, arguments, *_ = call
        pool = arguments[0] if last_name(function) == "run_in_executor" and arguments else None
        if pool is None and function[0] == "attr":
            pool = function[1]
        makers = [pool, *(value for value, _ in self._names.bindings(pool, ref))]
        for maker in makers:
            if maker and maker[0] == "entered":
                maker = maker[1]
            if maker and maker[0] == "call" and kind.search(last_name(maker[1])):
                return True
        return False


def _makes(expression: Expression, name: str) -> bool:
    return expression is not None and expression[0] == "call" and last_name(expression[1]) == name
