from __future__ import annotations

import django

from tests.processes.settings import *

ROOT_URLCONF = "tests.scanner.fixed.urls"
INSTALLED_APPS += ["tests.scanner.fixed"]  # noqa: F405
if django.VERSION < (6, 0):
    INSTALLED_APPS += ["django_tasks"]
MIDDLEWARE += [  # noqa: F405
    "tests.scanner.fixed.parts.Notes",
    "tests.scanner.fixed.parts.rewrites",
]
TEMPLATES[0]["OPTIONS"]["context_processors"].append(  # type: ignore[index]  # noqa: F405
    "tests.scanner.fixed.parts.greeting"
)
AI_USAGE_SECTIONS = ["chat", "unnamed"]
AI_USAGE_SCANNER_EXTRA = ["tests/scanner/unscanned.toml"]
# No code of the site names it.
AI_USAGE_DEFAULT_SECTION = "unnamed"
AI_USAGE_SECTION_MAP = {
    "tests.scanner.fixed.tasks.mapped": "chat",  # fixed
}
