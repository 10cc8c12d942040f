"""The metadata that depends on the address of the public repository.

PyPI shows the README without the files beside it, where its relative links and pictures would be
broken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A link or, with an exclamation mark, a picture whose target has no scheme.
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:)([^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


class CustomMetadataHook(MetadataHookInterface):  # type: ignore[misc, unused-ignore]
    """Fills in `project.readme` and `project.urls`; hatchling looks for this class."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields to `metadata`, the table `project` of pyproject.toml."""
        home = self.config["home"].rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme(text, home)}
        metadata["urls"] = urls(home)


def urls(home: str) -> dict[str, str]:
    """Return the project URLs; none if `home` is "", because there would be nothing behind them."""
    if not home:
        return {}
    return {
        "Homepage": home,
        "Documentation": f"{home}/tree/HEAD/docs",
        "Source": home,
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/HEAD/CHANGELOG.md",
    }


def readme(text: str, home: str) -> str:
    """Return the README for PyPI: absolute links, or the names of the files if `home` is ""."""

    def absolute(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        if home:
            target = f"README.md{target}" if target.startswith("#") else target
            return f"{mark}[{label}]({home}/{'raw' if mark else 'blob'}/HEAD/{target})"
        if mark:
            return ""
        name = target.partition("#")[0]
        return f"{label} (`{name}`)" if name else label

    # The odd parts are code.
    parts = _CODE.split(text)
    parts[::2] = (_RELATIVE.sub(absolute, part) for part in parts[::2])
    return "".join(parts)
