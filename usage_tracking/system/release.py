"""Which release of the package is installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: The name on PyPI.
DISTRIBUTION = "django-usage-tracking"


@cache
def version() -> str:
    """Return the version of the package, installed or in its repository; else "unknown"."""
    # Imported here because only commands need it, and it takes milliseconds.
    import tomllib
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(DISTRIBUTION)
    except PackageNotFoundError:
        pass
    try:
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return "unknown"  # a copy of the package alone
    return str(project.get("version")) if project.get("name") == DISTRIBUTION else "unknown"


def documentation() -> str:
    """Return where the documentation is: an address, or the folder in the source."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata(DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return named.get("Documentation") or "the folder docs of the source"
