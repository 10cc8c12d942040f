"""A path with several formats: the shape of the answer decides which one it is."""

from __future__ import annotations

from typing import Any

from .reader import Reader


class OneOf(Reader):
    """Reads an answer with whichever of its `kinds` recognises it."""

    #: The readers of the possible formats, in order of preference.
    kinds: tuple[type[Reader], ...] = ()
    #: Whether the format shows the operation. Elsewhere the path or the model decides it.
    shows_operation = False

    def __init__(self) -> None:
        super().__init__()
        #: All of them, until one recognises the answer; then only that one.
        self._readers = [kind() for kind in self.kinds]

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        if not self.recognised and not self._asks_shape:
            return b'"error"' in data or any(reader._has_usage(data) for reader in self._readers)
        return any(reader.wants(data) for reader in self._readers)

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        for reader in self._readers:
            reader.event(data)
        self._adopt()

    def done(self) -> None:
        """Take the last event of a stream."""
        for reader in self._readers:
            reader.done()
        self._adopt()

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        for reader in self._readers:
            reader.body(data)
        self._adopt()

    def _adopt(self) -> None:
        chosen = next((reader for reader in self._readers if reader.recognised), None)
        if chosen is None:
            self.error = next((reader.error for reader in self._readers if reader.error), "")
            return
        self._readers = [chosen]
        self.recognised = True
        if self.shows_operation:
            self.shown_operation = chosen.operation
        self.usage, self.complete = chosen.usage, chosen.complete
        self.final_at_end = chosen.final_at_end
        self.model, self.response_id = chosen.model, chosen.response_id
        self.error, self.service_tier = chosen.error, chosen.service_tier
        self.price_facts = chosen.price_facts
        self.facts = chosen.facts
