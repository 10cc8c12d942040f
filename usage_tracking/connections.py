"""Connections without a Django request: WebSockets, consumers, other ASGI applications."""

from __future__ import annotations

from .attribution.scope import Scope, Unit, current, enter, leave
from .attribution.users import Connection
from .errors import contained
from .recorder import pending_users, units


class OpenConnection:
    """The scope of a connection, and one inside it for each message.

    Each message is a unit of work. Its calls are delivered when the message has been handled,
    however long the connection stays open. The scope has no parent, because a server may start a
    connection in the context of another.
    """

    __slots__ = ("_connection", "scope")

    def __init__(self, connection: Connection) -> None:
        unit = Unit(connection)
        unit.within = unit
        self._connection = connection
        self.scope = Scope(unit)

    @contained
    def begin(self) -> Scope:
        """Begin a message, to which later calls in this context belong.

        A block that an earlier message has entered and not left stays current.
        """
        around = current()
        parent = around if around is not None and self._has(around) else self.scope
        message = Scope(Unit(self._connection, self.scope.unit), parent)
        message.unit.begin()
        enter(message)
        return message

    async def end(self, message: Scope | None) -> None:
        """End a message; do nothing for None."""
        if message is None or message.closed:
            return
        contained(leave)(message)
        message.closed = True  # also if leave() failed
        await units.afinish(message.unit)

    @contained
    def close(self) -> None:
        """End the connection. Calls more than five minutes later are unattributed."""
        self.scope.closed = True
        pending_users.end(self.scope.unit)

    def _has(self, scope: Scope) -> bool:
        ancestor: Scope | None = scope
        while ancestor is not None and ancestor is not self.scope:
            ancestor = ancestor.parent
        return ancestor is not None
