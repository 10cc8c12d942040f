from __future__ import annotations

from tests.processes.settings import *

ROOT_URLCONF = "tests.scanner.truth.urls"
INSTALLED_APPS += ["tests.scanner.truth"]  # noqa: F405
MIDDLEWARE += ["tests.scanner.truth.middleware.Summaries"]  # noqa: F405
TEMPLATES[0]["OPTIONS"]["context_processors"].append(  # type: ignore[index]  # noqa: F405
    "tests.scanner.truth.site.greeting"
)
AI_USAGE_SECTIONS = ["chat", "search", "other", "unnamed"]
# No code of the site names it.
AI_USAGE_DEFAULT_SECTION = "unnamed"
AI_USAGE_SECTION_MAP = {
    "view_name": "chat",
    "desk": "search",
    "desk:inner": "chat",
    "tests.scanner.truth.mapped.by_path": "chat",
    "tests.scanner.truth.mapped.ByPath": "chat",
    "tests.scanner.truth.prefixed": "chat",
    "tests.scanner.truth.consumers.MappedConsumer": "chat",
    "truth.mapped": "search",
    "tests.scanner.truth.tasks.default_name_is_mapped": "chat",
}
