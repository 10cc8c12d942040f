"""Permissions.

Users see their own calls. All calls need the same permission as the admin's list of calls.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..attribution.users import call_user_of


class IsUser(BasePermission):
    """Allows authenticated users of the site. API keys and service accounts have no calls."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the request has such a user."""
        user: Any = request.user  # None under UNAUTHENTICATED_USER = None
        return bool(user and user.is_authenticated and call_user_of(user))


class _HasPermission(IsUser):
    permission = ""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the user has the permission."""
        user: Any = request.user
        if not super().has_permission(request, view) or not isinstance(user, get_user_model()):
            return False
        # A user model without permissions grants none.
        has_perm = getattr(user, "has_perm", None)
        return bool(has_perm and has_perm(self.permission))


class MayViewAllUsage(_HasPermission):
    """Allows users with the permission `usage_tracking.view_aiusagelog`."""

    permission = "usage_tracking.view_aiusagelog"


class IsTrusted(_HasPermission):
    """Allows users with the permission `usage_tracking.add_aiusagelog`: workers of the site."""

    permission = "usage_tracking.add_aiusagelog"
