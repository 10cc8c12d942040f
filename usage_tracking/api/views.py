"""The endpoints. Everybody sees their own calls; all calls, those with the permission for it."""

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

from usage_tracking import conf
from usage_tracking.attribution.users import owner_of
from usage_tracking.models import AIUsageLog, today
from usage_tracking.related_users import with_users
from usage_tracking.reports import daily_rows_report, latest_logs, period_report
from usage_tracking.tracker import track_in_transaction

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
    400: OpenApiResponse(dict, "What is wrong, by the name of the parameter or the field."),
    401: OpenApiResponse(ErrorSerializer, "Not logged in."),
    403: OpenApiResponse(
        ErrorSerializer, "Not logged in, where the site has no HTTP authentication; or not allowed."
    ),
    429: OpenApiResponse(ErrorSerializer, "Too many requests."),
}
_NOT_FOUND = {404: OpenApiResponse(ErrorSerializer, "There is no such call of this user.")}


class SwitchedOff(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Nothing is recorded while AI_USAGE_ENABLED is off."
    default_code = "switched_off"


class UsageView(APIView):
    """What all endpoints have in common, whatever the site's defaults are."""

    permission_classes = (IsUser,)

    @cached_property
    def user(self) -> Any:
        """The user who asks, as a row of the user model; stateless tokens bring only its key."""
        user = self.request.user
        if isinstance(user, get_user_model()):
            return user
        owner = owner_of(user)
        with suppress(ValueError, ValidationError):  # a key that cannot be one of ours
            if owner and (row := get_user_model()._base_manager.filter(pk=owner.id).first()):
                return row
        raise PermissionDenied

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        # The site's cache must not give one user's rows to another: tokens are in no `Vary`.
        add_never_cache_headers(response)
        return response

    def parameters(self, kind: type[serializers.Serializer[None]]) -> Any:
        """The query string's, checked."""
        check_names(self.request, kind().fields)
        parameters = kind(data=self.request.query_params)
        parameters.is_valid(raise_exception=True)
        return parameters.validated_data


# The views take no type arguments before REST framework 3.15.
class OwnLogs(UsageView, generics.GenericAPIView):  # type: ignore[type-arg]
    serializer_class = LogSerializer

    def get_queryset(self) -> QuerySet[AIUsageLog]:
        if getattr(self, "swagger_fake_view", False):
            return AIUsageLog.objects.none()
        logs = with_users(AIUsageLog.objects.filter(user=self.user))
        return logs.order_by("-created_at", "-pk")


class LogListView(OwnLogs, generics.ListAPIView):  # type: ignore[type-arg]
    """The calls of the user who asks, newest first; and one more of theirs."""

    filter_backends = (LogFilterBackend,)
    filterset_class = LogFilters
    pagination_class = LogPagination
    parser_classes = (BoundedJSONParser,)

    def get_throttles(self) -> list[BaseThrottle]:
        throttles = list(super().get_throttles())
        return [*throttles, RecordThrottle()] if self.request.method == "POST" else throttles

    @extend_schema(
        operation_id="usage_logs_list",
        summary="Your calls",
        tags=_TAGS,
        responses={200: LogSerializer(many=True), **_REFUSED},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        pages = (LogPagination.limit_query_param, LogPagination.offset_query_param)
        check_names(request, (*LogFilters.base_filters, *pages))
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="usage_logs_create",
        summary="Record a call of yours",
        tags=_TAGS,
        request=RecordSerializer,
        filters=False,
        responses={
            201: LogSerializer,
            **_REFUSED,
            413: OpenApiResponse(ErrorSerializer, "The body is too large."),
            415: OpenApiResponse(ErrorSerializer, "The body is not JSON."),
            503: OpenApiResponse(ErrorSerializer, "Tracking is switched off."),
        },
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_names(request, ())
        try:
            call = RecordSerializer(data=request.data)
        except RequestDataTooBig:  # from Django, which newer REST frameworks read the body with
            raise TooLarge from None
        call.is_valid(raise_exception=True)
        if not conf.enabled():
            raise SwitchedOff
        # 201 says that the row can be read. In a transaction of the site's (ATOMIC_REQUESTS) the
        # row is written within: there is no 201 unless that is committed.
        log, _ = track_in_transaction(self.user, **call.validated_data)
        return Response(LogSerializer(log).data, status.HTTP_201_CREATED)


class LogView(OwnLogs, generics.RetrieveAPIView):  # type: ignore[type-arg]
    """One call of the user who asks."""

    def get_object(self) -> AIUsageLog:
        try:
            pk = UUID(self.kwargs["id"])
        except ValueError:
            raise Http404 from None
        return generics.get_object_or_404(self.get_queryset(), pk=pk)

    @extend_schema(
        operation_id="usage_logs_retrieve",
        summary="One call of yours",
        tags=_TAGS,
        parameters=[OpenApiParameter("id", UUID, "path")],
        responses={200: LogSerializer, **_REFUSED, **_NOT_FOUND},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_names(request, ())
        return super().get(request, *args, **kwargs)


class LogStatsView(UsageView):
    """What the calls of the user who asks add up to."""

    @extend_schema(
        operation_id="usage_logs_stats",
        summary="Your calls, added up",
        tags=_TAGS,
        parameters=[StatsParameters],
        responses={200: StatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        return self.answer(StatsSerializer, answers.of_logs, self.user)

    def answer(self, kind: Any, wording: Any, user: Any) -> Response:
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
        return Response(kind(wording(report, recent)).data)


class GlobalLogStatsView(LogStatsView):
    """What the calls of everybody add up to."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_logs_global",
        summary="Everybody's calls, added up",
        tags=_TAGS,
        parameters=[StatsParameters],
        responses={200: GlobalStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        return self.answer(GlobalStatsSerializer, answers.of_all_logs, None)


class DailyStatsView(UsageView):
    """What the days of the user who asks add up to."""

    @extend_schema(
        operation_id="usage_stats",
        summary="Your days, added up",
        tags=_TAGS,
        parameters=[DaysParameters],
        responses={200: DailyStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        days = _days(self.parameters(DaysParameters))
        report = daily_rows_report(*days, user=self.user)
        return Response(DailyStatsSerializer(answers.of_days(report)).data)


class GlobalDailyStatsView(UsageView):
    """What the days of everybody add up to."""

    permission_classes = (MayViewAllUsage,)

    @extend_schema(
        operation_id="usage_global",
        summary="Everybody's days, added up",
        tags=_TAGS,
        parameters=[DaysParameters],
        responses={200: GlobalDailyStatsSerializer, **_REFUSED},
    )
    def get(self, request: Request) -> Response:
        report = daily_rows_report(*_days(self.parameters(DaysParameters)))
        return Response(GlobalDailyStatsSerializer(answers.of_all_days(report)).data)


def _days(parameters: dict[str, Any]) -> tuple[dt.date, dt.date]:
    """The last so many days, today included."""
    end = today()
    return end - dt.timedelta(days=parameters["days"] - 1), end
