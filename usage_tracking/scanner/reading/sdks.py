"""SDKs whose own code is in a scan, such as copies in the repository or in a virtual environment.

A request that an SDK sends is a call site where the site calls the SDK, not inside of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..catalog import Catalog
from .discovery import FoundFile

_VERSIONS = {"version.py", "_version.py", "__version__.py"}
#: Definitions that show that a package is the SDK, and not code of the site with the same name.
_FEWEST_DEFINITIONS = 2


def sdks_among(found: Iterable[FoundFile], catalog: Catalog) -> list[str]:
    """Return the directories of the SDKs that the catalog describes.

    Such a directory has the name of the SDK's package, is not inside another package, has a module
    with the version, and defines at least two of the names that the catalog knows of the SDK, or
    the only one.
    """
    paths = {each.path for each in found}
    directories = (os.path.dirname(path) for path in paths if os.path.basename(path) in _VERSIONS)
    return sorted(each for each in set(directories) if _is_sdk(each, paths, catalog))


def without(found: Sequence[FoundFile], directories: Sequence[str]) -> list[FoundFile]:
    """Return the files that are in none of the directories."""
    starts = tuple(directory + os.sep for directory in directories)
    return [each for each in found if not each.path.startswith(starts)]


def _is_sdk(directory: str, paths: set[str], catalog: Catalog) -> bool:
    if os.path.join(directory, "__init__.py") not in paths:
        return False
    above, name = os.path.split(directory)
    base, parent = os.path.split(above)
    names = set(catalog.names_of(f"{parent}.{name}"))  # `google.genai`
    if names:
        above = base
    names |= catalog.names_of(name)
    if not names or os.path.join(above, "__init__.py") in paths:
        return False
    definition = re.compile(rf"^(?:class|(?:async )?def) ({'|'.join(sorted(names))})\b", re.M)
    defined: set[str] = set()
    for path in paths:
        if path.startswith(directory + os.sep):
            try:
                text = Path(path).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            defined.update(definition.findall(text))
            if len(defined) >= min(_FEWEST_DEFINITIONS, len(names)):
                return True
    return False
