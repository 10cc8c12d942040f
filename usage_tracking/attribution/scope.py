"""Scopes and units of work, which hold the attribution of AI calls.

The current scope is in one ContextVar. A scope is immutable except for its `closed` flag, and links
to its parent. A unit of work (a request, a task, an outermost block) is shared by the scopes inside
it. It remembers its latest calls so that they can be amended later.
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
from ..system.site_tests import running_test
from .users import CallUser, Connection, Pending

if TYPE_CHECKING:
    from ..events import UsageEvent

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds after the end of a request for which its threads and tasks keep its user.
OUTLIVE = 300.0
#: Number of calls that a unit remembers; a manual record can join only one of these.
REMEMBERED = 64


class Observer(Protocol):
    """Observe the calls made in a scope, and their later amendments."""

    def called(self, event: UsageEvent) -> None:
        """Handle a new call."""

    def amended(self, before: UsageEvent, after: UsageEvent) -> None:
        """Handle a new revision of a call's event."""


class Attempt(NamedTuple):
    """Facts that identify a retry: SDKs repeat failed requests."""

    #: Number of earlier attempts according to the SDK, None if the SDK does not report it.
    number: int | None
    #: The client's key for all attempts of one call, "" if it has none.
    key: str
    #: The ids of the thread and the asyncio task that made the attempt.
    worker: tuple[int, int]
    #: The endpoint and the request.
    asked: tuple[Any, ...]


class Call:
    """A call that a unit remembers, with the state needed to amend it."""

    __slots__ = ("at", "attempt", "event", "joined", "pending", "response_id", "scope")

    def __init__(
        self,
        event: UsageEvent,
        attributed: Attribution,
        response_id: str,
        attempt: Attempt | None = None,
    ) -> None:
        self.attempt = attempt
        self.event = event
        self.scope = attributed.scope
        self.pending = attributed.pending
        self.response_id = response_id
        self.joined = False
        self.at = time.monotonic()


_numbers = itertools.count(1)


class Unit:
    """A unit of work. While it is open, delivery does not take its events.

    Each message of a connection is its own unit, `within` the unit of the connection. The unit of a
    connection is never opened, because a connection may last for hours.
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
        #: The latest calls; a manual record may join one.
        self.calls: deque[Call] = deque(maxlen=REMEMBERED)
        #: Calls whose user is resolved after the unit has ended and the response is closed.
        self.pending: list[Call] = []
        self.in_use = False
        #: The section of the view, None before it is looked up.
        self.view_section: str | None = None

    def begin(self) -> None:
        """Open the unit."""
        self.open = True
        entered = gate.acquire(timeout=_GATE)
        try:
            open_units[self.id] = self
        finally:
            if entered:
                gate.release()

    def end(self) -> None:
        """Close the unit; closing it again has no effect."""
        self.ended = self.ended or time.monotonic()
        self.open = False
        open_units.pop(self.id, None)

    def is_outlived(self) -> bool:
        """Return whether code that still runs in the unit may serve other users by now.

        A task started by the first message of a connection may run as long as the connection.
        """
        # A fork does not learn when a connection of its parent ends.
        unit = self.within if self.within is not None and self.pid == os.getpid() else self
        return bool(unit.ended) and time.monotonic() - unit.ended > OUTLIVE

    def wait(self) -> float:
        """Return the seconds to wait for the rows at the end; 0 if no call was made."""
        return conf.wait() if self.calls else 0.0

    def remember(self, call: Call) -> None:
        """Add a call of this unit."""
        self.calls.append(call)
        if call.pending is not None:
            self.pending.append(call)


#: The open units of this process by id. A fork begins with none, because its threads are gone.
open_units: dict[str, Unit] = {}
#: Delivery holds this lock while it writes to an SQLite database with deferred transactions. A unit
#: that begins meanwhile waits these few milliseconds; its own write would fail as "locked".
gate = threading.Lock()
#: Seconds to wait for the gate.
_GATE = 1.0


def _after_fork() -> None:
    global gate
    for unit in list(open_units.values()):
        # The parent process continues the unit and its calls.
        unit.calls.clear()
        unit.pending.clear()
        unit.end()
    gate = threading.Lock()


files.after_fork(_after_fork)


class Scope:
    """The section, user and metadata of calls; the parent provides those that are None.

    Args:
        unit: The unit of work of the scope.
        parent: The enclosing scope, if any.
        section: The section code.
        user: A user, a lazy user or a `CallUser`.
        metadata: Merged into the metadata of the parent.
        observer: Notified of the calls in this scope and in scopes inside it.
        home: The place of `user`; by default the current one, or the parent's without a `user`.
    """

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
        #: The place in which the user exists.
        self.home: Place
        if home is not None:
            self.home = home
        elif parent is not None and user is None:
            self.home = parent.home
        else:
            self.home = here(unit.request, user=user)

    def observers(self) -> Iterator[Observer]:
        """Yield the observers of this scope and its ancestors, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            if scope.observer is not None:
                yield scope.observer
            scope = scope.parent


@dataclass(frozen=True, slots=True)
class Attribution:
    """The user, section, metadata and place of a call; fixed when the call begins."""

    user: CallUser | None
    pending: Pending | None
    section: str
    metadata: Mapping[str, Any]
    unit: Unit
    scope: Scope | None
    place: Place = NOWHERE


_scope: ContextVar[Scope | None] = ContextVar("ai_usage_scope", default=None)


def current() -> Scope | None:
    """Return the current scope, None if there is none."""
    return _scope.get()


def enter(scope: Scope) -> None:
    """Make `scope` the current one."""
    _scope.set(scope)


def leave(scope: Scope) -> None:
    """Close `scope`; if it is the current one, make its nearest open ancestor current.

    No ContextVar token is kept, because generators and tasks may leave a scope in another context
    than the one in which they entered it.
    """
    scope.closed = True
    if _scope.get() is scope:
        ancestor = scope.parent
        while ancestor is not None and ancestor.closed:
            ancestor = ancestor.parent
        _scope.set(ancestor)


def context_of(scope: Scope) -> Context:
    """Return a context that holds only `scope`."""
    context = Context()
    context.run(_scope.set, scope)
    return context


class Steps:
    """Run the steps of one piece of work, for example of a generator, inside a scope.

    Between two steps the caller's scope is restored. Scopes opened during one step are current
    again in the next.
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
