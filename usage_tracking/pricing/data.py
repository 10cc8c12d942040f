"""The data of the price table: the units, and the prices by provider and model as JSON has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("prices.json")
ADDITIONS = Path(__file__).with_name("additions.json")


class Unit(NamedTuple):
    """A unit that is counted, such as input tokens."""

    #: The count that a price is for.
    per: int
    dimensions: frozenset[tuple[str, str]]


class Table(NamedTuple):
    """The content of `prices.json`."""

    #: Such as "genai-prices 0.2.3".
    version: str
    units: Mapping[str, Unit]
    providers: list[dict[str, Any]]
    additions: list[dict[str, Any]]


# Without a lock, two threads may both read the file, which does no harm. A lock could be held when
# the process forks.
@cache
def load() -> Table:
    """Return the table; the first call reads it, which takes 5 ms and 3 MB and imports nothing."""
    data = json.loads(PATH.read_bytes(), parse_float=Decimal)
    units = {
        name: Unit(unit["per"], frozenset(unit["dimensions"].items()))
        for name, unit in data["units"].items()
    }
    additions = json.loads(ADDITIONS.read_bytes(), parse_float=Decimal)
    source = data["source"]
    return Table(f"{source['name']} {source['version']}", units, data["providers"], additions)
