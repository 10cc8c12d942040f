"""The list of calls: read it, read one call, and record calls."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.db.models import QuerySet
from django.http import Http404
from django.utils.functional import cached_property
from rest_framework import generics, serializers, status
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from .. import conf
from ..models import AIUsageLog
from ..related_users import with_users
from ..tracker import track_in_transaction
from . import cursors, recording
from .base import REFUSED, TAGS, CSVView, UsageView, or_csv, require_user
from .filters import LogFilterBackend, LogFilters
from .pagination import CURSOR, KIND, LogPagination
from .parameters import ALL_USERS, check_names
from .parsers import BoundedJSONParser, TooLarge
from .permissions import IsTrusted
from .schema import (
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from .serializers import (
    ErrorSerializer,
    LogSerializer,
    RecordedManySerializer,
    RecordManySerializer,
    RecordSerializer,
    TrustedRecordSerializer,
)
from .throttling import RecordThrottle

_KEY, _CALLS, _HEADER = "idempotency_key", "calls", "Idempotency-Key"
#: What only trusted clients may send. In a request for one's own call they have no meaning.
_TRUSTED = set(TrustedRecordSerializer().fields) - set(RecordSerializer().fields)
_NOT_TRUSTED = (
    "A list of calls and an idempotency key need the permission usage_tracking.add_aiusagelog."
)
_TWO_KEYS = f"It differs from the header {_HEADER}."
_NO_HEADER = f"Each call of a list has its own {_KEY}: leave out the header {_HEADER}."
_NOT_FOUND = {404: OpenApiResponse(ErrorSerializer, "You have no such call.")}
_NOT_RECORDED = {
    **REFUSED,
    413: OpenApiResponse(ErrorSerializer, "The request body is too large."),
    415: OpenApiResponse(ErrorSerializer, "The request body is not JSON."),
    422: OpenApiResponse(dict, "An idempotency key belongs to another call."),
    503: OpenApiResponse(ErrorSerializer, "AI_USAGE_ENABLED is False."),
}
_ROWS = PolymorphicProxySerializer(
    component_name="Recorded",
    serializers=[LogSerializer, RecordedManySerializer],
    resource_type_field_name=None,
    many=False,
)


class SwitchedOff(APIException):
    """503: AI_USAGE_ENABLED is False."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "Calls are not recorded while AI_USAGE_ENABLED is False."
    default_code = "switched_off"


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


class LogListView(CSVView, OwnLogs, generics.ListAPIView):  # type: ignore[type-arg]
    """List calls, newest first, or record some: yours, or with a permission those of others."""

    filter_backends = (LogFilterBackend,)
    filterset_class = LogFilters
    pagination_class = LogPagination
    parser_classes = (BoundedJSONParser,)
    csv_columns = LogSerializer.Meta.fields

    def get_throttles(self) -> list[BaseThrottle]:
        """Add the rate limit of recording."""
        throttles = list(super().get_throttles())
        return [*throttles, RecordThrottle()] if self.request.method == "POST" else throttles

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """Return that of the method, which OPTIONS and the browsable API describe."""
        if not self.writes:
            return LogSerializer
        return TrustedRecordSerializer if self.is_trusted else RecordSerializer

    def get_queryset(self) -> QuerySet[AIUsageLog]:
        """Return the calls of the user that the query names, newest first."""
        if getattr(self, "swagger_fake_view", False):
            return AIUsageLog.objects.none()
        logs = with_users(AIUsageLog.objects.order_by("-created_at", "-pk"))
        user = self.whose(self.filters.get("user"))
        return logs if user is None else logs.filter(user=user)

    @cached_property
    def is_trusted(self) -> bool:
        """Whether the client may record calls of others."""
        return IsTrusted().has_permission(self.request, self)

    @property
    def filters(self) -> dict[str, str]:
        """The filters of the request, or those of its cursor."""
        return self._page[0]

    @property
    def after(self) -> list[Any] | None:
        """The key of the last call on the page before; None on the first page."""
        return self._page[1]

    @cached_property
    def _page(self) -> tuple[dict[str, str], list[Any] | None]:
        query = self.request.query_params
        given = {name: query[name] for name in LogFilters.base_filters if name in query}
        cursor = query.get(CURSOR, cursors.FIRST)
        if cursor == cursors.FIRST:
            return given, None
        return cursors.read(cursor, KIND, self.user, given)

    @extend_schema(
        operation_id="usage_logs_list",
        summary="List calls",
        tags=TAGS,
        responses=or_csv({200: LogSerializer(many=True), **REFUSED}),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List calls, newest first: yours, unless you name a user and have the permission."""
        query = request.query_params
        known = {*LogFilters.base_filters, *_PAGES}
        if "user" in query and not self.views_all:
            known.discard("user")  # to other clients it is unknown
        check_names(request, known)
        for name in ("start", "end"):
            if name in query and f"{name}_date" in query:
                reason = f"Give either {name} or {name}_date: both mean the same."
                raise serializers.ValidationError({name: [reason]})
        if query.get("user", ALL_USERS) != ALL_USERS:
            require_user(self.whose(query["user"]))
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="usage_logs_create",
        summary="Record a call, or up to 1,000",
        tags=TAGS,
        parameters=[
            OpenApiParameter(
                _HEADER, str, "header", description=f"The same as `{_KEY}`, for a single call."
            )
        ],
        request=PolymorphicProxySerializer(
            component_name="Record",
            serializers=[TrustedRecordSerializer, RecordManySerializer],
            resource_type_field_name=None,
            many=False,
        ),
        filters=False,
        responses={200: _ROWS, 201: _ROWS, **_NOT_RECORDED},
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Record a call of yours; or, with the permission, calls of any user, all or none.

        The response has the rows, which can be read from then on. It is 200 if earlier requests
        with the same keys had written all of them.
        """
        check_names(request, ())
        try:
            data = request.data
        except RequestDataTooBig:  # newer REST frameworks read the body by Django
            raise TooLarge from None
        header = request.headers.get(_HEADER)
        sent = data if isinstance(data, dict) else {}
        is_list = (isinstance(data, list) and data) or _CALLS in sent
        if is_list or _KEY in sent or header is not None:
            if not self.is_trusted:
                raise PermissionDenied(_NOT_TRUSTED)
            if not is_list:
                return self.record_one(sent, header)
            if header is not None:
                raise serializers.ValidationError({_KEY: [_NO_HEADER]})
            return self.record_many(sent[_CALLS] if sent else data)
        if not _TRUSTED.isdisjoint(sent) and self.is_trusted:
            return self.record_one(sent, None)
        return self.record_own(data)

    def record_own(self, data: Any) -> Response:
        """Record a call of the client's own; further fields have no meaning."""
        call = RecordSerializer(data=data)
        call.is_valid(raise_exception=True)
        _require_enabled()
        # 201 means that the row can be read. Under ATOMIC_REQUESTS the row is part of the
        # request's transaction, and there is no 201 unless that is committed.
        log, _ = track_in_transaction(self.user, **call.validated_data)
        return Response(LogSerializer(log).data, status.HTTP_201_CREATED)

    def record_one(self, sent: dict[str, Any], header: str | None) -> Response:
        """Record a call of any user."""
        if header is not None:
            key = header[1:-1] if header[:1] == header[-1:] == '"' else header  # as in the draft
            if sent.get(_KEY, key) != key:
                raise serializers.ValidationError({_KEY: [_TWO_KEYS]})
            sent = {**sent, _KEY: key}
        call = TrustedRecordSerializer(data=sent)
        call.is_valid(raise_exception=True)
        _require_enabled()
        try:
            found = recording.record([call.validated_data], self.user, self.request._request)
        except recording.ByIndex as error:
            raise error.of_one() from None
        return Response(LogSerializer(found.logs[0]).data, _status(found))

    def record_many(self, items: Any) -> Response:
        """Record calls of any users, all or none."""
        calls = recording.read_calls(items)
        _require_enabled()
        try:
            found = recording.record(calls, self.user, self.request._request)
        except recording.ByIndex as error:
            raise error.of_many() from None
        answer = {
            "created": found.created,
            "repeated": len(found.logs) - found.created,
            "results": found.logs,
        }
        return Response(RecordedManySerializer(answer).data, _status(found))


_PAGES = (LogPagination.limit_query_param, LogPagination.offset_query_param, CURSOR)


def _status(found: recording.Recorded) -> int:
    return status.HTTP_201_CREATED if found.created else status.HTTP_200_OK


def _require_enabled() -> None:
    if not conf.enabled():
        raise SwitchedOff


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
        tags=TAGS,
        parameters=[OpenApiParameter("id", UUID, "path")],
        responses={200: LogSerializer, **REFUSED, **_NOT_FOUND},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Retrieve one of your calls."""
        check_names(request, ())
        return super().get(request, *args, **kwargs)
