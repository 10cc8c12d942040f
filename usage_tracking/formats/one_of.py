"""A path that speaks several formats: the shape of the answer tells which one it is."""

from __future__ import annotations

from typing import Any

from .reader import Reader


class OneOf(Reader):
    kinds: tuple[type[Reader], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        #: All until one of them has recognised the answer, then only that one.
        self._readers = [kind() for kind in self.kinds]

    def wants(self, data: bytes) -> bool:
        if not self.recognised and not self._asks_shape:
            return b'"error"' in data or any(reader._has_usage(data) for reader in self._readers)
        return any(reader.wants(data) for reader in self._readers)

    def event(self, data: dict[str, Any]) -> None:
        for reader in self._readers:
            reader.event(data)
        self._adopt()

    def body(self, data: dict[str, Any]) -> None:
        for reader in self._readers:
            reader.body(data)
        self._adopt()

    def _adopt(self) -> None:
        mine = next((reader for reader in self._readers if reader.recognised), None)
        if mine is None:
            self.error = next((reader.error for reader in self._readers if reader.error), "")
            return
        self._readers = [mine]
        self.recognised = True
        self.usage, self.complete = mine.usage, mine.complete
        self.final_at_end = mine.final_at_end
        self.model, self.response_id = mine.model, mine.response_id
        self.error, self.service_tier = mine.error, mine.service_tier
        self.facts = mine.facts
