"""Who and what an AI call belongs to: scopes, units of work, and how both travel.

A scope lives in one ContextVar. It is immutable but for a flag that says it was left; scopes are
linked to their parents. A unit of work (a request, a task, an outermost scope) is shared by the
scopes inside it and remembers its latest calls, so that more can be said of them afterwards.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from django.http import HttpRequest

from .. import conf
from ..places import NOWHERE, Place, here
from ..system import files
from ..system.test_runs import running_test
from .users import CallUser, Connection, Pending

if TYPE_CHECKING:
    from ..events import UsageEvent

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds for which threads and tasks that outlive their request still act for its user.
OUTLIVE = 300.0
#: Calls a unit remembers; a manual record joins one of these.
REMEMBERED = 64


class Observer(Protocol):
    """Is told of the calls made in its scope and of what is learned about them later."""

    def called(self, event: UsageEvent) -> None: ...

    def amended(self, before: UsageEvent, after: UsageEvent) -> None: ...


class Attempt(NamedTuple):
    """What tells whether a request repeats an earlier one: SDKs send again what has failed."""

    #: How many attempts the SDK made before, None if it does not say so.
    number: int | None
    #: What the client calls all attempts of one call by, "" if it has no name for them.
    key: str
    #: The thread and the asyncio task that made it.
    worker: tuple[int, int]
    #: What was asked for, and where.
    asked: tuple[Any, ...]


class Call:
    """A call that a unit remembers, and what may still be learned about it."""

    __slots__ = ("at", "attempt", "event", "joined", "pending", "response_id", "scope")

    def __init__(self, event: UsageEvent, attributed: Attribution, response_id: str) -> None:
        self.attempt = attributed.attempt
        self.event = event
        self.scope = attributed.scope
        self.pending = attributed.pending
        self.response_id = response_id
        self.joined = False
        self.at = time.monotonic()


_numbers = itertools.count(1)


class Unit:
    """A unit of work. While it is open, delivery leaves its events alone.

    A message of a connection is one of its own `within` that of the connection, which never opens:
    it may last for hours.
    """

    __slots__ = (
        *("began", "calls", "ended", "id", "in_use", "open"),
        *("pending", "pid", "request", "test", "view_section", "within"),
    )

    def __init__(
        self, request: HttpRequest | Connection | None = None, within: Unit | None = None
    ) -> None:
        self.pid = os.getpid()
        self.id = f"{self.pid}-{next(_numbers)}"
        self.request = request
        self.within = within
        self.test = running_test()
        self.open = False
        self.began = time.monotonic()
        self.ended = 0.0
        #: The latest calls, which a manual record may join.
        self.calls: deque[Call] = deque(maxlen=REMEMBERED)
        #: Calls whose user is resolved after the unit has ended, and the site has let go of the
        #: request.
        self.pending: list[Call] = []
        self.in_use = False
        #: The section that its view asks for, None before it was looked for.
        self.view_section: str | None = None

    def begin(self) -> None:
        self.open = True
        entered = gate.acquire(timeout=_GATE)
        try:
            open_units[self.id] = self
        finally:
            if entered:
                gate.release()

    def end(self) -> None:
        self.ended = self.ended or time.monotonic()
        self.open = False
        open_units.pop(self.id, None)

    def is_outlived(self) -> bool:
        """Return whether what still runs in it may serve others by now.

        A task that the first message of a connection started may run for as long as that is open.
        """
        # A fork inherits no connection: it is never told of its end.
        unit = self.within if self.within is not None and self.pid == os.getpid() else self
        return bool(unit.ended) and time.monotonic() - unit.ended > OUTLIVE

    def wait(self) -> float:
        """Return for how many seconds its end waits for its rows; 0 if it has made no call."""
        return conf.wait() if self.calls else 0.0

    def remember(self, call: Call) -> None:
        self.calls.append(call)
        if call.pending is not None:
            self.pending.append(call)


#: The open units of this process by id. A fork begins without: its threads are gone.
open_units: dict[str, Unit] = {}
#: Delivery holds it while it writes to an SQLite whose transactions are deferred; a unit that
#: begins meanwhile waits these few milliseconds, or its own write would fail as "locked".
gate = threading.Lock()
_GATE = 1.0


def _after_fork() -> None:
    global gate
    for unit in list(open_units.values()):
        # The parent goes on with it: what it calls and learns is not for us.
        unit.calls.clear()
        unit.pending.clear()
        unit.end()
    gate = threading.Lock()


files.after_fork(_after_fork)


class Scope:
    """Section, user and metadata in force; `section` and `user` None inherit from the parent."""

    __slots__ = (
        *("closed", "home", "metadata", "observer", "parent", "section", "thread"),
        *("unit", "user"),
    )

    def __init__(
        self,
        unit: Unit,
        parent: Scope | None = None,
        *,
        section: str | None = None,
        user: Any = None,
        metadata: Mapping[str, Any] | None = None,
        observer: Observer | None = None,
        home: Place | None = None,
    ) -> None:
        self.unit = unit
        self.parent = parent
        self.section: str | None = section or (parent.section if parent else None)
        self.user: Any = user if user is not None else (parent.user if parent else None)
        inherited: Mapping[str, Any] = parent.metadata if parent else {}
        self.metadata: Mapping[str, Any] = {**inherited, **(metadata or {})}
        self.observer = observer
        self.closed = False
        self.thread = threading.get_ident()
        #: Where the user is one.
        self.home: Place
        if home is not None:
            self.home = home
        elif parent is not None and user is None:
            self.home = parent.home
        else:
            self.home = here(unit.request, user=user)

    def observers(self) -> Iterator[Observer]:
        scope: Scope | None = self
        while scope is not None:
            if scope.observer is not None:
                yield scope.observer
            scope = scope.parent


@dataclass(frozen=True, slots=True)
class Attribution:
    """To whom and what a call belongs; fixed when the call begins."""

    user: CallUser | None
    pending: Pending | None
    section: str
    metadata: Mapping[str, Any]
    unit: Unit
    scope: Scope | None
    place: Place = NOWHERE
    #: Of a captured call, once it has ended.
    attempt: Attempt | None = None


_scope: ContextVar[Scope | None] = ContextVar("ai_usage_scope", default=None)


def current() -> Scope | None:
    return _scope.get()


def enter(scope: Scope) -> None:
    _scope.set(scope)


def leave(scope: Scope) -> None:
    """Closes `scope`; if it is the current one, its nearest open ancestor becomes current.

    No token is kept: generators and tasks may leave in another context than they entered in.
    """
    scope.closed = True
    if _scope.get() is scope:
        ancestor = scope.parent
        while ancestor is not None and ancestor.closed:
            ancestor = ancestor.parent
        _scope.set(ancestor)


def context_of(scope: Scope) -> Context:
    """Return a context that is empty but for `scope`."""
    context = Context()
    context.run(_scope.set, scope)
    return context


class Steps:
    """Runs pieces of one piece of work, as a generator's steps are, each inside a scope.

    Nothing stays set between two steps; scopes that the work itself opens live on in the next.
    """

    __slots__ = ("_mine", "_theirs")

    def __init__(self, scope: Scope | None) -> None:
        self._mine = scope

    def __enter__(self) -> None:
        self._theirs = _scope.get()
        _scope.set(self._mine)

    def __exit__(self, *_: object) -> None:
        self._mine = _scope.get()
        _scope.set(self._theirs)
