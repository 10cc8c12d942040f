"""Routers of sites whose usage tables have a database of their own."""

from __future__ import annotations

import re
from typing import Any

from tests.support.children import ROOT

#: As docs/scaling.md has it.
(GUIDE,) = re.findall(
    r"^```python\n(class UsageRouter.*?)^```",
    (ROOT / "docs" / "scaling.md").read_text(),
    re.DOTALL | re.MULTILINE,
)
_written: dict[str, Any] = {}
exec(GUIDE, _written)  # as its reader does
Router: Any = _written["UsageRouter"]


class ShortRouter:
    """Leaves all tables in both databases, and the users' empty in one."""

    db_for_read = db_for_write = Router.db_for_read
