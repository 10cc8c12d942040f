"""What an admin theme replaces: the base class, the style sheet and some templates of our pages.

A theme is an app before `django.contrib.admin` in INSTALLED_APPS. Its templates have the names of
Django's, so most of a page looks right without any of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.utils.module_loading import import_string

#: The supported themes, by their app.
THEMES = ("unfold", "jazzmin", "grappelli")


def theme() -> str:
    """Return the installed theme, or an empty text for Django's own admin."""
    return next((name for name in THEMES if apps.is_installed(name)), "")


def stylesheets() -> list[str]:
    """Return the style sheets that adapt our pages to the theme."""
    name = theme()
    return [f"usage_tracking/themes/{part}.css" for part in ("common", name)] if name else []


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    # unfold styles the fields, checkboxes and actions of its own class only.
    ModelAdmin = (
        import_string("unfold.admin.ModelAdmin") if theme() == "unfold" else admin.ModelAdmin
    )
