from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from tests import views

# Each view of tests.views is sync and, with the prefix `a`, async.
_calls: list[URLPattern] = [
    path("plain/", views.plain, name="plain"),
    path("aplain/", views.aplain, name="aplain"),
    path("marked/", views.marked),
    path("amarked/", views.amarked),
    path("marked-and-scoped/", views.marked_and_scoped),
    path("amarked-and-scoped/", views.amarked_and_scoped),
    path("marked-class/", views.Marked.as_view()),
    path("amarked-class/", views.AMarked.as_view()),
    path("marked-class-by-decorator/", views.MarkedByDecorator.as_view()),
    path("decorated-class/", views.Decorated.as_view(), name="decorated"),
    path("adecorated-class/", views.ADecorated.as_view(), name="adecorated"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("usage/", include("usage_tracking.urls")),
    path("api/v1/ai/", include("usage_tracking.api.urls")),
    path("calls/", include(_calls)),
    path("shop/", include(([*_calls, path("eu/", include((_calls, "eu")))], "shop"))),
]
