"""`path("usage/", include("usage_tracking.urls"))` gives every user a page of their own."""

from __future__ import annotations

from django.urls import path

from .views import my_usage

app_name = "usage_tracking"
urlpatterns = [path("", my_usage, name="my_usage")]
