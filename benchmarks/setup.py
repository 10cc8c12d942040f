"""What the app adds to `django.setup()`, as whole processes in turn.

python -m benchmarks.setup [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

CODE = (
    "import time; started = time.perf_counter(); import django; django.setup(); "
    "print(time.perf_counter() - started)"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        # Compiled code is cached, as on any site, whatever this shell says of it.
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(), seconds(without_us=True)
        pairs = [(seconds(without_us=True), seconds()) for _ in range(options.rounds)]
    without = statistics.median(a for a, _ in pairs)
    added = statistics.median(b - a for a, b in pairs)
    print(
        f"django.setup() {without * 1000:.0f} ms, with usage_tracking {added * 1000:+.0f} ms "
        "(target ≤ 30)"
    )


def seconds(*, without_us: bool = False) -> float:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    if without_us:
        env["WITHOUT_US"] = "yes"
    return float(subprocess.check_output([sys.executable, "-c", CODE], env=env))


if __name__ == "__main__":
    main()
