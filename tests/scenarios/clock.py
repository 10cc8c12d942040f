"""A clock that a test moves forward while a site runs."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any


def put_forward(file: Path, by: timedelta) -> None:
    """Move the clock of sites that follow `file` ahead of the machine's clock."""
    new = file.with_suffix(".new")
    new.write_text(str(by.total_seconds()))
    os.replace(new, file)


def follow(file: Path) -> None:
    """Shift the recorded times of this process's calls by the value in `file`."""
    from usage_tracking import events

    utc_now = events.utc_now

    def later() -> datetime:
        return utc_now() + timedelta(seconds=float(file.read_text()))

    modules: dict[str, Any] = {**sys.modules}
    for name, module in modules.items():
        if name.startswith("usage_tracking") and getattr(module, "utc_now", None) is utc_now:
            module.utc_now = later
