"""Class-based views, Django's and those of REST framework."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.views import View
from django.views.generic import FormView, TemplateView
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from tests.scanner.fixed.ai import aclient, client
from tests.scanner.fixed.parts import NoteForm
from usage_tracking import ai_section


# fix: decorate the class Page with @ai_section("…")
@ai_section("chat")  # fixed
class Page(View):
    def get(self, request):
        return HttpResponse(client.responses.create(model="class_view", input="Hi").output_text)


# fix: decorate the class AsyncPage with @ai_section("…")
@ai_section("chat")  # fixed
class AsyncPage(View):
    async def get(self, request):
        answer = await aclient.responses.create(model="async_class_view", input="Hi")
        return HttpResponse(answer.output_text)


# fix: decorate the class BasePage with @ai_section("…")
@ai_section("chat")  # fixed
class BasePage(View):
    def get(self, request):
        return HttpResponse(client.responses.create(model="inherited_view", input="Hi").output_text)


class Inherited(BasePage):
    pass


# fix: decorate the class OfOwnBase with @ai_section("…")
@ai_section("chat")  # fixed
class OfOwnBase(BasePage):
    def post(self, request):
        text = client.responses.create(model="view_of_own_base", input="Hi").output_text
        return HttpResponse(text)


# fix: decorate the class Summary with @ai_section("…")
@ai_section("chat")  # fixed
class Summary(LoginRequiredMixin, TemplateView):
    def get_context_data(self, **kwargs):
        text = client.responses.create(model="context_data", input="Hi").output_text
        return super().get_context_data(text=text, **kwargs)

    def render_to_response(self, context, **response_kwargs):
        return HttpResponse(context["text"])


# fix: decorate the class NoteView with @ai_section("…")
@ai_section("chat")  # fixed
class NoteView(FormView):
    form_class = NoteForm

    def form_valid(self, form):
        return HttpResponse(self._improved("Hi"))

    def _improved(self, text):
        return client.responses.create(model="method_of_view", input=text).output_text


# fix: decorate api with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
@api_view(["GET"])
def api(request):
    return Response(client.responses.create(model="api", input="Hi").output_text)


# fix: decorate the class Api with @ai_section("…")
@ai_section("chat")  # fixed
class Api(APIView):
    def get(self, request):
        return Response(client.responses.create(model="api_class", input="Hi").output_text)


# fix: decorate the class Notes with @ai_section("…")
@ai_section("chat")  # fixed
class Notes(ViewSet):
    @action(detail=False)
    def draft(self, request):
        return Response(client.responses.create(model="viewset_action", input="Hi").output_text)
