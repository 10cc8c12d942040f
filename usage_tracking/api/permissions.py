"""Who may see what: everybody their own calls, all calls those who may in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from usage_tracking.attribution.users import owner_of


class IsUser(BasePermission):
    """Logged in, as a user of the site: an API key or a service account owns no calls."""

    def has_permission(self, request: Request, view: Any) -> bool:
        user: Any = request.user  # None under UNAUTHENTICATED_USER = None
        return bool(user and user.is_authenticated and owner_of(user))


class MayViewAllUsage(IsUser):
    """Has the permission `usage_tracking.view_aiusagelog`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        user: Any = request.user
        if not super().has_permission(request, view) or not isinstance(user, get_user_model()):
            return False
        # A user model need not have permissions: nobody has any then.
        has_perm = getattr(user, "has_perm", None)
        return bool(has_perm and has_perm("usage_tracking.view_aiusagelog"))
