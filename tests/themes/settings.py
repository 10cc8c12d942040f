"""The settings of the tests with the admin theme that the environment variable THEME names."""

from __future__ import annotations

import os
from typing import Any

from tests.settings import *
from tests.settings import INSTALLED_APPS, MIDDLEWARE

THEME = os.environ.get("THEME", "stock")
#: A theme replaces templates of django.contrib.admin, so its app comes first.
APPS: dict[str, list[str]] = {
    "stock": [],
    "unfold": ["unfold"],
    "jazzmin": ["jazzmin"],
    "grappelli": ["grappelli"],
}

INSTALLED_APPS = [*APPS[THEME], *INSTALLED_APPS]
MIDDLEWARE = ["tests.themes.site.count_statements", *MIDDLEWARE]
ROOT_URLCONF = "tests.themes.urls"
if THEME == "jazzmin":
    JAZZMIN_UI_TWEAKS: dict[str, Any] = {"default_theme_mode": "auto"}
    # Fonts from another host are no part of a test.
    JAZZMIN_SETTINGS: dict[str, Any] = {"use_google_fonts_cdn": False}
