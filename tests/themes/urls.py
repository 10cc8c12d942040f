"""The URLs of the tests, and those that a theme needs."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path

from tests.urls import urlpatterns

if settings.THEME == "grappelli":
    urlpatterns = [path("grappelli/", include("grappelli.urls")), *urlpatterns]

__all__ = ["urlpatterns"]
