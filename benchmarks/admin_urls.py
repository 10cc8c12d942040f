"""URLs of the benchmark site with the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("usage/", include("usage_tracking.urls"))]
