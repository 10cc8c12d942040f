"""The dashboard's entry in the admin's index and sidebar, and its address for links."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse

from ..models import AIUsageDashboard, AIUsageLog
from .base import may_view
from .dashboard import dashboard_view
from .themes import ModelAdmin, stylesheets


@admin.register(AIUsageDashboard)
class AIUsageDashboardAdmin(ModelAdmin):
    """The dashboard as an entry of the admin's index and sidebar.

    It is shown to those who may view the calls in the same admin site.
    """

    class Media:
        css = {"all": ["usage_tracking/usage.css", *stylesheets()]}

    def get_urls(self) -> list[URLPattern]:
        """Return the URL of the dashboard; there is nothing to add or to change."""
        view = self.admin_site.admin_view(self.changelist_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", view, name=name)]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Show the dashboard."""
        return dashboard_view(request, self)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may view the calls."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may view the calls, which their admin may decide."""
        if self.admin_site.is_registered(AIUsageLog):
            return self.admin_site.get_model_admin(AIUsageLog).has_view_permission(request)
        return bool(request.user.has_perm("usage_tracking.view_aiusagelog"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only the package writes rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: only the package writes rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: calls are deleted in their list."""
        return False


def dashboard_url_of(request: HttpRequest) -> str:
    """Return the URL of the dashboard of the admin site that serves `request`.

    It is "" if the site has no dashboard, or none for the visitor.
    """
    name = getattr(request, "current_app", "admin")
    site = next((site for site in all_sites if site.name == name), None)
    if site is None or not may_view(site, AIUsageLog, request):
        return ""
    own = site.is_registered(AIUsageDashboard)
    name = "usage_tracking_aiusagedashboard_changelist" if own else "usage_tracking_dashboard"
    try:
        return reverse(f"admin:{name}", current_app=site.name)
    except NoReverseMatch:  # the site has an admin of its own for the calls
        return ""
