"""What all endpoints share: who asks, whose calls they ask for, and what caches may keep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import (
    add_never_cache_headers,
    get_conditional_response,
    patch_cache_control,
)
from django.utils.functional import cached_property
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from .. import conf
from ..attribution.users import call_user_of
from ..models import AIUsageLog
from .fields import NO_SUCH_SECTION, ONLY_OWN, UNKNOWN_USER, user_key
from .parameters import ALL_USERS, check_names
from .permissions import IsUser, MayViewAllUsage
from .renderers import CSVRenderer
from .schema import OpenApiResponse
from .serializers import ErrorSerializer

TAGS = ["AI usage"]
REFUSED = {
    400: OpenApiResponse(dict, "Error messages by the name of the parameter or field."),
    401: OpenApiResponse(ErrorSerializer, "Not authenticated."),
    403: OpenApiResponse(
        ErrorSerializer, "Not permitted; or not authenticated, without a WWW-Authenticate header."
    ),
    429: OpenApiResponse(ErrorSerializer, "Too many requests."),
}


_NO_FORMAT = {404: OpenApiResponse(ErrorSerializer, "There is no such format.")}


def or_csv(responses: Mapping[int, Any]) -> dict[Any, Any]:
    """Return the responses in the schema of an endpoint that returns JSON or CSV."""
    responses = {**responses, **_NO_FORMAT}
    in_json = {(status, "application/json"): response for status, response in responses.items()}
    return {**in_json, (200, "text/csv"): str}


class UsageView(APIView):
    """The common base of the endpoints, which does not depend on the site's defaults."""

    permission_classes = (IsUser,)
    #: Endpoints that only read take no body.
    parser_classes: Any = ()
    #: Whether a client's own cache may keep the response, and revalidate it by its ETag.
    may_be_kept = False

    @cached_property
    def user(self) -> Any:
        """The authenticated user as a user model row; stateless tokens have only its key."""
        user = self.request.user
        if isinstance(user, get_user_model()):
            return user
        call_user = call_user_of(user)
        with suppress(ValueError, ValidationError):  # not a primary key of the user model
            if call_user and (
                row := get_user_model()._base_manager.filter(pk=call_user.id).first()
            ):
                return row
        raise PermissionDenied

    @cached_property
    def views_all(self) -> bool:
        """Whether the user may see all calls."""
        return MayViewAllUsage().has_permission(self.request, self)

    def whose(self, text: str | None) -> Any:
        """Return the primary key of the user whose calls `text` asks for; None for all users.

        Without a text they are the client's own, whatever the client may see.

        Raises:
            PermissionDenied: They are those of others, and the client may not see all calls.
            ValidationError: It is not a primary key.
        """
        if text is None or text == str(self.user.pk):
            return self.user.pk
        if not self.views_all:
            raise PermissionDenied(ONLY_OWN)
        if text == ALL_USERS:
            return None
        try:
            return user_key(text)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"user": error.detail}) from None

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep the response out of shared caches, and give it an ETag."""
        is_csv = isinstance(getattr(request, "accepted_renderer", None), CSVRenderer)
        if is_csv and "results" not in (getattr(response, "data", None) or {}):
            # CSV has no place for an error or for what OPTIONS describes.
            request.accepted_renderer = JSONRenderer()
            request.accepted_media_type = JSONRenderer.media_type
        response = super().finalize_response(request, response, *args, **kwargs)
        renderer = getattr(response, "accepted_renderer", None)
        # HTML has the name of the client and a CSRF token.
        has_tag = (
            request.method in ("GET", "HEAD")
            and response.status_code == 200
            and renderer is not None
            and renderer.media_type != "text/html"
        )
        # The site's cache must not give one user's rows to another: `Vary` does not name tokens.
        if has_tag and self.may_be_kept:
            patch_cache_control(response, private=True, no_cache=True)
        else:
            add_never_cache_headers(response)
        if has_tag:
            response.add_post_render_callback(partial(_conditional, request))
        return response

    def parameters(self, kind: type[serializers.Serializer[None]]) -> Any:
        """Validate the query string by the serializer `kind` and return its values."""
        check_names(self.request, kind().fields)
        parameters = kind(data=self.request.query_params)
        parameters.is_valid(raise_exception=True)
        return parameters.validated_data


class CSVView(UsageView):
    """An endpoint whose rows can be read as CSV too."""

    renderer_classes: Any = (*api_settings.DEFAULT_RENDERER_CLASSES, CSVRenderer)
    #: The columns of CSV.
    csv_columns: Sequence[str] = ()

    def get_renderers(self) -> list[Any]:
        """Leave out CSV where a POST writes: it is for lists."""
        renderers: list[Any] = super().get_renderers()
        return [one for one in renderers if one.format != CSVRenderer.format or not self.writes]

    @property
    def writes(self) -> bool:
        """Whether the request is a POST that may write; a generator of schemas has no request."""
        request: Any = getattr(self, "request", None)
        return bool(request) and request.method == "POST" and "POST" in self.allowed_methods


def _conditional(request: HttpRequest, response: Any) -> HttpResponseBase | None:
    """Return 304 or 412 if the conditions of the request ask for it.

    The tag is that of the bytes. Only the rows can tell whether an answer has changed, so a 304
    saves the transfer, not the query.
    """
    tag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    return get_conditional_response(request, etag=tag, response=response)


def require_user(key: Any) -> None:
    """Check that a user exists.

    Raises:
        ValidationError: There is none with this primary key.
    """
    if not get_user_model()._base_manager.filter(pk=key).exists():
        raise serializers.ValidationError({"user": [UNKNOWN_USER]})


def require_section(code: str | None, user: Any) -> None:
    """Check a section without calls: it is in the setting, or calls of `user` have it.

    Raises:
        ValidationError: It is neither.
    """
    if code is None or code in conf.sections():
        return
    logs = AIUsageLog.objects.filter(section=code)
    if not (logs if user is None else logs.filter(user=user)).exists():
        raise serializers.ValidationError({"section": [NO_SUCH_SECTION]})
