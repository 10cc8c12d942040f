"""Which release of the package is installed."""

from __future__ import annotations

#: The name on PyPI.
DISTRIBUTION = "django-usage-tracking"


def version() -> str:
    """Return the version of the installed package; "unknown" for a copy of its source."""
    # Imported here because only commands need it, and it takes milliseconds.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def documentation() -> str:
    """Return where the documentation is: an address, or the folder in the source."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata(DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return named.get("Documentation") or "the folder docs of the source"
