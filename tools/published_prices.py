"""Write the table of published prices in docs/prices.md: `make docs-prices`.

Each row is a case of tests/pricing/published.jsonl, recorded by the app.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests/pricing/published.jsonl"
PAGE = ROOT / "docs/prices.md"
_BEGIN, _END = "<!-- published prices -->", "<!-- end of published prices -->"


def main() -> None:
    """Write the table."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()
    PAGE.write_text(page(), encoding="utf-8")


def cases() -> list[dict[str, Any]]:
    """Return the cases."""
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def page() -> str:
    """Return the page with a new table."""
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(
        f"{_BEGIN}.*{_END}", lambda _: f"{_BEGIN}\n{table()}\n{_END}", text, flags=re.DOTALL
    )


def table() -> str:
    """Return the table; the streamed form of an answer shares the row of the plain one."""
    from django.test import override_settings

    from tests.support.wire import recorded

    rows = ["| provider | kind | model | counted | published | recorded |", "| --- " * 6 + "|"]
    for case in cases():
        if case["name"].endswith(", streamed"):
            continue
        with override_settings(**case.get("settings", {})):
            event, quote = recorded(case)
        expected = "—" if case["cost"] is None else case["cost"]
        counts = ", ".join(f"{name} {count:,}" for name, count in event.units.items() if count)
        cost = "—" if quote.cost is None else f"{quote.cost.normalize():f}"
        reason = f" ({quote.reason})" if quote.reason else ""
        cells = (
            case["provider"],
            case["kind"],
            f"`{case['model']}`",
            counts,
            f"[{expected}]({case['source']})",
            f"{cost}{reason}",
        )
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
