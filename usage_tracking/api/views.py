"""The endpoints. Users see their own calls; the global endpoints need a permission."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import RequestDataTooBig, ValidationError
from django.db.models import QuerySet
from django.http import Http404
from django.utils.cache import add_never_cache_headers
from django.utils.functional import cached_property
from rest_framework import generics, serializers, status
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from .. import conf
from ..attribution.users import call_user_of
from ..models import AIUsageLog, today
from ..related_users import with_users
from ..reports import daily_rows_report, latest_logs, period_report
from ..tracker import track_in_transaction
from . import answers
from .fields import NO_SUCH_SECTION
from .filters import LogFilterBackend, LogFilters
from .pagination import LogPagination
from .parameters import DaysParameters, StatsParameters, check_names
from .parsers import BoundedJSONParser, TooLarge
from .permissions import IsUser, MayViewAllUsage
from .schema import OpenApiParameter, OpenApiResponse, extend_schema
from .serializers import (
    DailyStatsSerializer,
    ErrorSerializer,
    GlobalDailyStatsSerializer,
    GlobalStatsSerializer,
    LogSerializer,
    RecordSerializer,
    StatsSerializer,
)
from .throttling import RecordThrottle

RECENT_LOGS = 10

_TAGS = ["AI usage"]
_REFUSED = {
    400: OpenApiResponse(dict, "Error messages by the name of the parameter or field."),
    401: OpenApiResponse(ErrorSerializer, "Not authenticated."),
    403: OpenApiResponse(
        ErrorSerializer, "Not permitted; or not authenticated, without a WWW-Authenticate header."
    ),
    429: OpenApiResponse(ErrorSerializer, "Too many requests."),
}
_NOT_FOUND = {404: OpenApiResponse(ErrorSerializer, "You have no such call.")}


class SwitchedOff(APIException):
    """503: AI_USAGE_ENABLED is False."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Calls are not recorded while AI_USAGE_ENABLED is False."
    default_code = "switched_off"


class UsageView(APIView):
    """The common base of the endpoints, which does not depend on the site's defaults."""

    permission_classes = (IsUser,)

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

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep the response out of caches."""
        response = super().finalize_response(request, response, *args, **kwargs)
        # The site's cache must not give one user's rows to another: `Vary` does not name tokens.
        add_never_cache_headers(response)
        return response

    def parameters(self, kind: type[serializers.Serializer[None]]) -> Any:
        """Validate the query string by the serializer `kind` and return its values."""
        check_names(self.request, kind().fields)
        parameters = kind(data=self.request.query_params)
        parameters.is_valid(raise_exception=True)
        return parameters.validated_data


# The views take no type arguments before REST framework 3.15.
class OwnLogs(UsageView, generics.GenericAPIView):  # type: ignore[type-arg]
    """The base of the endpoints that return the user's own calls."""

    serializer_class = LogSerializer

    def get_queryset(self) -> QuerySet[AIUsageLog]:
        """Return the user's own calls, newest first."""
        if getattr(self, "swagger_fake_view", False):
            return AIUsageLog.objects.none()
        logs = with_users(AIUsageLog.objects.filter(user=self.user))
        return logs.order_by("-created_at", "-pk")


class LogListView(OwnLogs, generics.ListAPIView):  # type: ignore[type-arg]
    """List your calls, newest first, or record one."""

    filter_backends = (LogFilterBackend,)
    filterset_class = LogFilters
    pagination_class = LogPagination
    parser_classes = (BoundedJSONParser,)

    def get_throttles(self) -> list[BaseThrottle]:
        """Add the rate limit of recording."""
        throttles = list(super().get_throttles())
        return [*throttles, RecordThrottle()] if self.request.method == "POST" else throttles

    @extend_schema(
        operation_id="usage_logs_list",
        summary="List your calls",
        tags=_TAGS,
        responses={200: LogSerializer(many=True), **_REFUSED},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List your calls, newest first."""
        pages = (LogPagination.limit_query_param, LogPagination.offset_query_param)
        check_names(request, (*LogFilters.base_filters, *pages))
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="usage_logs_create",
        summary="Record a call",
        tags=_TAGS,
        request=RecordSerializer,
        filters=False,
        responses={
            201: LogSerializer,
            **_REFUSED,
            413: OpenApiResponse(ErrorSerializer, "The request body is too large."),
            415: OpenApiResponse(ErrorSerializer, "The request body is not JSON."),
            503: OpenApiResponse(ErrorSerializer, "AI_USAGE_ENABLED is False."),
        },
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Record a call of yours. The response is its row, which can be read from then on."""
        check_names(request, ())
        try:
            call = RecordSerializer(data=request.data)
        except RequestDataTooBig:  # newer REST frameworks read the body by Django
            raise TooLarge from None
        call.is_valid(raise_exception=True)
        if not conf.enabled():
            raise SwitchedOff
        # 201 means that the row can be read. Under ATOMIC_REQUESTS the row is part of the
        # request's transaction, and there is no 201 unless that is committed.
        log, _ = track_in_transaction(self.user, **call.validated_data)
        return Response(LogSerializer(log).data, status.HTTP_201_CREATED)


class LogView(OwnLogs, generics.RetrieveAPIView):  # type: ignore[type-arg]
    """Retrieve one of your calls."""

    def get_object(self) -> AIUsageLog:
        """Return the call; an invalid id is not found."""
        try:
            pk = UUID(self.kwargs["id"])
        except ValueError:
            raise Http404 from None
        return generics.get_object_or_404(self.get_queryset(), pk=pk)

    @extend_schema(
        operation_id="usage_logs_retrieve",
        summary="Retrieve one of your calls",
        tags=_TAGS,
        parameters=[OpenApiParameter("id", UUID, "path")],
        responses={200: LogSerializer, **_REFUSED, **_NOT_FOUND},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Retrieve one of your calls."""
        check_names(request, ())
        return super().get(request, *args, **kwargs)


class LogStatsView(UsageView):
    """Add up your calls."""

    @extend_schema(
        operation_id="usage_logs_stats",
        summary="Add up your calls",
        tags=_TAGS,
        parameters=[StatsParameters],
        responses={200: StatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        """Add up your calls, from the log."""
        return self.answer(StatsSerializer, answers.of_logs, self.user)

    def answer(self, kind: Any, convert: Any, user: Any) -> Response:
        """Add up the calls of `user`, None for all users, as the serializer `kind`."""
        parameters = self.parameters(StatsParameters)
        section = parameters.get("section")
        report = period_report(*_days(parameters), user=user, section=section)
        recent: list[AIUsageLog] = []
        if report.totals.calls:
            recent = latest_logs(report, RECENT_LOGS, user=user)
        elif section is not None and section not in conf.sections():
            logs = AIUsageLog.objects.filter(section=section)
            if not (logs if user is None else logs.filter(user=user)).exists():
                raise serializers.ValidationError({"section": [NO_SUCH_SECTION]})
        return Response(kind(convert(report, recent)).data)


class GlobalLogStatsView(LogStatsView):
    """Add up all calls."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_logs_global",
        summary="Add up all calls",
        tags=_TAGS,
        parameters=[StatsParameters],
        responses={200: GlobalStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        """Add up the calls of all users and those without a user, from the log."""
        return self.answer(GlobalStatsSerializer, answers.of_all_logs, None)


class DailyStatsView(UsageView):
    """Add up your daily rows."""

    @extend_schema(
        operation_id="usage_stats",
        summary="Add up your daily rows",
        tags=_TAGS,
        parameters=[DaysParameters],
        responses={200: DailyStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        """Add up your daily rows, which also count calls whose logs were pruned."""
        days = _days(self.parameters(DaysParameters))
        report = daily_rows_report(*days, user=self.user)
        return Response(DailyStatsSerializer(answers.of_days(report)).data)


class GlobalDailyStatsView(UsageView):
    """Add up all daily rows."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_global",
        summary="Add up all daily rows",
        tags=_TAGS,
        parameters=[DaysParameters],
        responses={200: GlobalDailyStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        """Add up all daily rows and the calls without a user."""
        report = daily_rows_report(*_days(self.parameters(DaysParameters)))
        return Response(GlobalDailyStatsSerializer(answers.of_all_days(report)).data)


def _days(parameters: dict[str, Any]) -> tuple[dt.date, dt.date]:
    """Return the first and last of the last `days` days, today included."""
    end = today()
    return end - dt.timedelta(days=parameters["days"] - 1), end
