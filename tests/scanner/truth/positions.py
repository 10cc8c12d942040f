"""`@ai_usage` above a decorator that keeps the function, and code that Django calls."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import singledispatch

from django.contrib.syndication.views import Feed
from django.core.exceptions import ValidationError
from django.dispatch import Signal, receiver
from django.http import HttpResponse
from django.template import Context, Library, Template
from rest_framework.decorators import action
from rest_framework.mixins import CreateModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.serializers import CharField, Serializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ViewSet

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_section, ai_usage

pinged = Signal()
register = Library()


@ai_usage("chat")
@receiver(pinged)  # noqa: DJ013 -- the wrong order is the case
def receives_above(sender, **kwargs):
    client.responses.create(model="usage_above_receiver", input="Hi")


@receiver(pinged)
@ai_usage("chat")
def receives_below(sender, **kwargs):
    client.responses.create(model="usage_below_receiver", input="Hi")


def ping(request):
    pinged.send(None)
    return HttpResponse()


@ai_usage("chat")
@register.simple_tag
def tag_above():
    return client.responses.create(model="usage_above_tag", input="Hi").output_text


@register.simple_tag
@ai_usage("chat")
def tag_below():
    return client.responses.create(model="usage_below_tag", input="Hi").output_text


def render_tags(request):
    page = Template("{% tag_above %}{% tag_below %}", engine=_engine())
    return HttpResponse(page.render(Context()))


def _engine():
    from django.template import Engine

    engine = Engine()
    engine.template_builtins.append(register)
    return engine


class Actions(ViewSet):
    @ai_usage("chat")
    @action(detail=False)
    def usage_above(self, request):
        text = client.responses.create(model="usage_above_action", input="Hi").output_text
        return Response(text)


@ai_usage("chat")
@contextmanager
def asks_above() -> Iterator[str]:
    yield client.responses.create(model="usage_above_manager", input="Hi").output_text


@contextmanager
@ai_usage("chat")
def asks_below() -> Iterator[str]:
    yield client.responses.create(model="usage_below_manager", input="Hi").output_text


@contextmanager
@ai_usage("chat")
def decorated_manager() -> Iterator[None]:
    yield


@asynccontextmanager
async def asks_in_block():
    async with ai_usage("chat"):
        answer = await aclient.responses.create(model="block_in_own_manager", input="Hi")
    yield answer.output_text


def managers(request):
    with asks_above() as first, asks_below() as second:
        text = first + second
    with decorated_manager():
        # Only the code of the manager is in the block.
        text += client.responses.create(model="in_decorated_manager", input="Hi").output_text
    return HttpResponse(text)


async def async_managers(request):
    async with asks_in_block() as text:
        return HttpResponse(text)


@singledispatch
def _read(value):
    return str(value)


@ai_usage("chat")
@_read.register
def _read_text(value: str):
    return client.responses.create(model="usage_above_register", input=value).output_text


def dispatched(request):
    return HttpResponse(_read("Hi"))


class Allowed(BasePermission):
    def has_permission(self, request, view):
        return bool(client.responses.create(model="permission_of_marked", input="Hi").output_text)


@ai_section("chat")
class Guarded(APIView):
    permission_classes = [Allowed]

    def get(self, request):
        return Response("done")


class Loose(BasePermission):
    def has_permission(self, request, view):
        return bool(client.responses.create(model="permission_of_plain", input="Hi").output_text)


class LooselyGuarded(APIView):
    permission_classes = [Loose]

    @ai_usage("chat")
    def get(self, request):
        """The block begins after the permissions are checked."""
        return Response(client.responses.create(model="below_permission", input="Hi").output_text)


class Text(Serializer):
    text = CharField()

    def create(self, validated_data):
        client.responses.create(model="create_of_serializer", input="Hi")
        return validated_data


@ai_section("chat")
class Created(CreateModelMixin, GenericViewSet):
    serializer_class = Text

    def perform_create(self, serializer):
        client.responses.create(model="perform_create_of_marked", input="Hi")
        serializer.save()


def _is_polite(text):
    if not client.responses.create(model="validator_in_block", input=text).output_text:
        raise ValidationError("rude")


def validated(request):
    from django.forms import CharField as Field

    field = Field(validators=[_is_polite])
    with ai_usage("chat"):
        return HttpResponse(field.clean("Hi"))


class News(Feed):
    title = link = description = "/"

    def items(self):
        return [client.responses.create(model="feed_items", input="Hi").output_text]

    def item_link(self, item):
        return "/"


class MarkedNews(Feed):
    """A feed is an instance, whose section is not that of a view class."""

    ai_section = "chat"
    title = link = description = "/"

    def items(self):
        return [client.responses.create(model="marked_feed_items", input="Hi").output_text]

    def item_link(self, item):
        return "/"


class CallableView:
    def __call__(self, request):
        return HttpResponse(client.responses.create(model="callable_view", input="Hi").output_text)


class MarkedCallableView:
    ai_section = "chat"

    def __call__(self, request):
        text = client.responses.create(model="marked_callable_view", input="Hi").output_text
        return HttpResponse(text)


def not_found(request, exception):
    client.responses.create(model="handler404", input="Hi")
    return HttpResponse(status=404)


@ai_usage("chat")
def failed(request):
    client.responses.create(model="handler500_in_block", input="Hi")
    return HttpResponse(status=500)


def fails(request):
    raise ZeroDivisionError
