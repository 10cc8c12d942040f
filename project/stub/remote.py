"""Read the journal of a stub in another process."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from typing import Any
from urllib.request import urlopen

from project.stub.exchange import Charge, Counts, Served


def fetch_journal(url: str) -> list[Served]:
    """Return the journal of the stub at `url`."""
    # With urllib, because hooks on httpx or requests must not see this request.
    with urlopen(f"{url}/journal", timeout=10) as response:  # noqa: S310 - address of the stub
        entries = json.load(response)
    return [_served(entry) for entry in entries]


def _served(entry: dict[str, Any]) -> Served:
    moment, charge = entry["served_at"], entry["charge"]
    changed = {
        "body": b64decode(entry["body"]),
        "served_at": moment and datetime.fromisoformat(moment),
        "charge": charge and Charge(**{**charge, "counts": Counts(**charge["counts"])}),
    }
    return Served(**{**entry, **changed})
