"""The URLs of the API: `path("api/v1/ai/", include("usage_tracking.api.urls"))`."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "ai_usage_api"

urlpatterns = [
    path("", views.RootView.as_view(), name="root"),
    path("usage/report/", views.ReportView.as_view(), name="report"),
    path("usage/logs/", views.LogListView.as_view(), name="logs"),
    path("usage/logs/stats/", views.LogStatsView.as_view(), name="log-stats"),
    path("usage/logs/global/", views.GlobalLogStatsView.as_view(), name="global-log-stats"),
    # Not `uuid:`: the response to an invalid id must be JSON too.
    path("usage/logs/<str:id>/", views.LogView.as_view(), name="log"),
    path("usage/stats/", views.DailyStatsView.as_view(), name="stats"),
    path("usage/global/", views.GlobalDailyStatsView.as_view(), name="global-stats"),
    path(
        "usage/reconciliation/",
        views.ReconciliationView.as_view(),
        name="reconciliation",
    ),
]
