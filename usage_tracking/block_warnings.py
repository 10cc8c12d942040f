"""Log one warning for each `ai_usage` block that cannot work as the site expects."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from . import conf
from .errors import contained
from .log import logger

#: Number of uses without a call after which a block is reported.
SILENT_USES = 20
#: SDKs whose calls no hook captures.
UNSEEN_SDKS = ("stability_sdk",)

#: The file and the line of a block.
Site = tuple[str, int]

#: Number of uses of each block without a call; negative if there is nothing left to report.
_uses: dict[Site, int] = {}
#: Blocks with an invalid user that were reported.
_warned_of_user: set[Site] = set()


class Handle(Protocol):
    """The calls of one use of a block."""

    @property
    def calls(self) -> int:
        """The number of calls."""


def warn_of_user(site: Site, user: Any) -> None:
    """Warn once about a block with an invalid `user`."""
    if site in _warned_of_user or not conf.enabled():
        return
    _warned_of_user.add(site)
    logger.warning(
        "[TRACK_WARNING] The user of the ai_usage block at %s:%d must be a saved user, a "
        "primary key or a username, not of type %s; its calls are unattributed.",
        *site,
        type(user).__name__,
    )


@contained
def note_use(site: Site, handle: Handle) -> None:
    """Count one use of a block; warn about a block in which no call is ever captured."""
    uses = _uses.get(site, 0)
    if uses < 0:
        return
    if handle.calls:
        _uses[site] = -1
        return
    _uses[site] = uses + 1
    unseen = next((name for name in UNSEEN_SDKS if name in sys.modules), None)
    if uses + 1 < SILENT_USES and not unseen:
        return
    _uses[site] = -1
    if not conf.enabled():
        return
    logger.warning(
        "[TRACK_WARNING] No AI call was seen in the ai_usage block at %s:%d (%d uses%s). "
        "If it makes calls, record them: with ai_usage(...) as usage: usage.record(response)",
        *site,
        uses + 1,
        f"; {unseen} is imported, whose transport cannot be captured" if unseen else "",
    )
