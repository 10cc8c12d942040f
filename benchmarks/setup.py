"""Measure the time that the app adds to `django.setup()`, in alternating processes.

python -m benchmarks.setup
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.table import FULL, Row, print_rows, scaled

CODE = (
    "import time; started = time.perf_counter(); import django; django.setup(); "
    "print(time.perf_counter() - started)"
)


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as cache:
        # Python caches compiled code, as on a real site, whatever the environment says.
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(), seconds(without_us=True)
        rounds = scaled(15, part, 3)
        pairs = [(seconds(without_us=True), seconds()) for _ in range(rounds)]
    without = statistics.median(a for a, _ in pairs) * 1000
    added = statistics.median(b - a for a, b in pairs) * 1000
    yield Row(
        "time that the app adds to django.setup()",
        "≤ 30 ms",
        f"{added:+.0f} ms on {without:.0f} ms",
        met=added <= 30,
    )


def seconds(*, without_us: bool = False) -> float:
    """Return the seconds of `django.setup()` in a new process."""
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    if without_us:
        env["WITHOUT_US"] = "yes"
    return float(subprocess.check_output([sys.executable, "-c", CODE], env=env))


if __name__ == "__main__":
    print_rows(measure())
