"""Class-based views and the places of their section."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.generic import TemplateView

from tests.scanner.truth.ai import client
from usage_tracking import ai_section, ai_usage


class Plain(View):
    def get(self, request):
        return HttpResponse(client.responses.create(model="plain_class", input="Hi").output_text)


@ai_section("chat")
class SectionOnClass(View):
    def get(self, request):
        return HttpResponse(self.answer())

    def answer(self):
        return client.responses.create(model="section_on_class_view", input="Hi").output_text


class Base(View):
    ai_section = "chat"


class Inherited(Base):
    def get(self, request):
        text = client.responses.create(model="inherited_attribute", input="Hi").output_text
        return HttpResponse(text)


@ai_section("chat")
class MarkedBase(View):
    pass


class InheritedMark(MarkedBase):
    def get(self, request):
        text = client.responses.create(model="inherited_mark", input="Hi").output_text
        return HttpResponse(text)


class Attribute(View):
    ai_section = "chat"

    def get(self, request):
        text = client.responses.create(model="attribute_on_class_view", input="Hi").output_text
        return HttpResponse(text)


class EmptyAttribute(Base):
    ai_section = ""

    def get(self, request):
        text = client.responses.create(model="empty_attribute", input="Hi").output_text
        return HttpResponse(text)


class BaseThatAsks(View):
    def get(self, request):
        text = client.responses.create(model="base_of_marked_views", input="Hi").output_text
        return HttpResponse(text)


@ai_section("chat")
class FirstOfBase(BaseThatAsks):
    pass


class SecondOfBase(BaseThatAsks):
    ai_section = "search"


class BaseOfSome(View):
    def get(self, request):
        text = client.responses.create(model="base_of_some_marked_views", input="Hi").output_text
        return HttpResponse(text)


class FirstOfSome(BaseOfSome):
    ai_section = "search"


class SecondOfSome(BaseOfSome):
    pass


class SectionOnMethod(View):
    @ai_section("chat")
    def get(self, request):
        text = client.responses.create(model="section_on_view_method", input="Hi").output_text
        return HttpResponse(text)


class UsageOnMethod(View):
    @ai_usage("chat")
    def get(self, request):
        text = client.responses.create(model="usage_on_view_method", input="Hi").output_text
        return HttpResponse(text)


@method_decorator(ai_section("chat"), name="dispatch")
class SectionOnDispatch(View):
    def get(self, request):
        text = client.responses.create(model="section_on_dispatch", input="Hi").output_text
        return HttpResponse(text)


@method_decorator(ai_usage("chat"), name="dispatch")
class UsageOnDispatch(View):
    def get(self, request):
        text = client.responses.create(model="usage_on_dispatch", input="Hi").output_text
        return HttpResponse(text)


@method_decorator(ai_usage("chat"), name="post")
class UsageOnPost(View):
    def post(self, request):
        text = client.responses.create(model="usage_on_post", input="Hi").output_text
        return HttpResponse(text)

    def get(self, request):
        text = client.responses.create(model="usage_on_another_method", input="Hi").output_text
        return HttpResponse(text)


class MethodDecorator(View):
    @method_decorator(ai_usage("chat"))
    def get(self, request):
        text = client.responses.create(model="method_decorator_usage", input="Hi").output_text
        return HttpResponse(text)

    @method_decorator(ai_section("chat"))
    def post(self, request):
        text = client.responses.create(model="method_decorator_section", input="Hi").output_text
        return HttpResponse(text)


class DispatchOpensBlock(View):
    def dispatch(self, request, *args, **kwargs):
        with ai_usage("chat"):
            return super().dispatch(request, *args, **kwargs)


class BelowDispatch(DispatchOpensBlock):
    def get(self, request):
        text = client.responses.create(model="dispatch_of_base_opens_block", input="Hi").output_text
        return HttpResponse(text)


class AsViewArgument(View):
    ai_section = ""

    def get(self, request):
        text = client.responses.create(model="section_as_view_argument", input="Hi").output_text
        return HttpResponse(text)


class MarkedAtRoute(View):
    def get(self, request):
        text = client.responses.create(model="class_marked_at_route", input="Hi").output_text
        return HttpResponse(text)


class UsageAtRoute(View):
    def get(self, request):
        text = client.responses.create(model="class_usage_at_route", input="Hi").output_text
        return HttpResponse(text)


class Summary(TemplateView):
    template_name = "truth/empty.html"
    ai_section = "chat"

    def get_context_data(self, **kwargs):
        text = client.responses.create(model="context_of_marked_view", input="Hi").output_text
        return super().get_context_data(text=text, **kwargs)

    def render_to_response(self, context, **response_kwargs):
        return HttpResponse(context["text"])


class AsksMixin:
    def ask(self):
        return client.responses.create(model="mixin_of_marked_view", input="Hi").output_text


class WithMixin(AsksMixin, View):
    ai_section = "chat"

    def get(self, request):
        return HttpResponse(self.ask())


class SectionMixin:
    ai_section = "chat"


class WithSectionMixin(SectionMixin, View):
    def get(self, request):
        text = client.responses.create(model="section_of_mixin", input="Hi").output_text
        return HttpResponse(text)


class Service:
    """No view, so its attribute means nothing."""

    ai_section = "chat"

    def ask(self):
        return client.responses.create(model="attribute_on_service", input="Hi").output_text


@ai_section("chat")
class MarkedService:
    def ask(self):
        return client.responses.create(model="section_on_service", input="Hi").output_text


def attribute_on_service(request):
    return HttpResponse([Service().ask(), MarkedService().ask()])
