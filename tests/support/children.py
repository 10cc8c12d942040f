"""Run Python in a child process, as a separate site with its own settings."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from textwrap import dedent

from tests.support.waiting import run

ROOT = Path(__file__).parent.parent.parent


def run_python(
    directory: Path, code: str, *, settings: str = "", first: str = "", **environment: str
) -> str:
    """Run `code` after `django.setup()` and return its output.

    Args:
        directory: Holds the settings and the outbox of the site.
        code: The program.
        settings: Source that is added to `tests.settings`.
        first: Source that runs before everything else.
        **environment: Additional environment variables.
    """
    program = f"{first}\nimport django; django.setup()\n{dedent(code)}"
    ended = run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=directory,
        env=make_site(directory, settings) | environment,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n--- stderr\n{ended.stderr}"
    return ended.stdout


def make_site(directory: Path, settings: str = "") -> dict[str, str]:
    """Return the environment for processes that share the site in `directory`."""
    (directory / "site_settings.py").write_text(
        "from tests.settings import *\n"
        f"AI_USAGE_OUTBOX = {str(directory / 'outbox')!r}\n" + dedent(settings)
    )
    return os.environ | {
        "PYTHONPATH": os.pathsep.join((str(directory), str(ROOT))),
        "DJANGO_SETTINGS_MODULE": "site_settings",
    }


def hear_control_c() -> None:
    """Restore the default SIGINT handler; pass this as `preexec_fn`.

    A shell that starts the tests in the background makes them ignore Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
