"""A site without optional packages. The sessions install only SDKs."""

from __future__ import annotations

from tests.settings import *

INSTALLED_APPS = [
    name
    for name in INSTALLED_APPS  # noqa: F405
    if name.partition(".")[0] in ("django", "usage_tracking")
]
ROOT_URLCONF = "tests.sdks.settings"
urlpatterns: list[object] = []
