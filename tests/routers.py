"""Routers of sites with a separate database for the usage tables."""

from __future__ import annotations

import re
from typing import Any

from tests.support.children import ROOT

#: The router in docs/scaling.md.
(GUIDE,) = re.findall(
    r"^```python\n(class UsageRouter.*?)^```",
    (ROOT / "docs" / "scaling.md").read_text(),
    re.DOTALL | re.MULTILINE,
)
_written: dict[str, Any] = {}
exec(GUIDE, _written)  # as a reader of the guide does
Router: Any = _written["UsageRouter"]


class ShortRouter:
    """Keeps all tables in both databases. The user table of one is empty."""

    db_for_read = db_for_write = Router.db_for_read
