"""System checks: find wrong settings before a call is lost."""

from __future__ import annotations

from django.core.checks import Tags
from django.core.checks import register as register_check

from .installation import (
    check_database,
    check_middleware,
    check_outbox,
    check_tenants,
    has_middleware,
)
from .settings import check_settings

__all__ = [
    "TAG",
    "check_database",
    "check_middleware",
    "check_outbox",
    "check_settings",
    "check_tenants",
    "has_middleware",
    "register",
]

#: The tag of the checks that do not connect to a database. The commands of this app run only these:
#: checks of other apps need not stop them, and on Django 6.1 some connect to every database.
TAG = "usage_tracking"


def register() -> None:
    """Register the checks with Django."""
    register_check(check_settings, Tags.compatibility, TAG)
    register_check(check_middleware, Tags.compatibility, TAG)
    register_check(check_database, Tags.database)
    register_check(check_outbox, Tags.files, TAG)
    register_check(check_tenants, Tags.compatibility, TAG)
