"""REST framework."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from django.utils.decorators import method_decorator
from rest_framework import serializers
from rest_framework.decorators import action, api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from tests.scanner.truth.ai import client
from usage_tracking import ai_section, ai_usage


@api_view(["GET"])
def api_plain(request):
    return Response(client.responses.create(model="api_plain", input="Hi").output_text)


@ai_section("chat")
@api_view(["GET"])
def api_section_above(request):
    return Response(client.responses.create(model="api_section_above", input="Hi").output_text)


@api_view(["GET"])
@ai_section("chat")
def api_section_below(request):
    return Response(client.responses.create(model="api_section_below", input="Hi").output_text)


@ai_usage("chat")
@api_view(["GET"])
def api_usage_above(request):
    return Response(client.responses.create(model="api_usage_above", input="Hi").output_text)


@api_view(["GET"])
@ai_usage("chat")
def api_usage_below(request):
    return Response(client.responses.create(model="api_usage_below", input="Hi").output_text)


@ai_section("chat")
class ApiSection(APIView):
    def get(self, request):
        return Response(client.responses.create(model="api_class_section", input="Hi").output_text)


class ApiMethodSection(APIView):
    @ai_section("chat")
    def get(self, request):
        text = client.responses.create(model="api_method_section", input="Hi").output_text
        return Response(text)


class Plain(ViewSet):
    def list(self, request):
        text = client.responses.create(model="viewset_plain", input="Hi").output_text
        return Response(text)

    @action(detail=False)
    @ai_section("chat")
    def below(self, request):
        text = client.responses.create(model="action_section_below", input="Hi").output_text
        return Response(text)

    @ai_section("chat")
    @action(detail=False)
    def above(self, request):
        text = client.responses.create(model="action_section_above", input="Hi").output_text
        return Response(text)

    @action(detail=False)
    @ai_usage("chat")
    def usage_below(self, request):
        text = client.responses.create(model="action_usage_below", input="Hi").output_text
        return Response(text)

    @action(detail=False)
    @method_decorator(ai_usage("chat"))
    def usage_method(self, request):
        text = client.responses.create(model="action_method_decorator", input="Hi").output_text
        return Response(text)


class WithArgument(ViewSet):
    ai_section = ""  # REST framework accepts only arguments that the class has

    @action(detail=False, ai_section="chat")
    def of_argument(self, request):
        text = client.responses.create(model="action_section_argument", input="Hi").output_text
        return Response(text)


@ai_section("chat")
class Marked(ViewSet):
    def list(self, request):
        return Response(Question(data={"text": "Hi"}).answer())

    @action(detail=False)
    def extra(self, request):
        text = client.responses.create(model="action_of_marked_viewset", input="Hi").output_text
        return Response(text)


class Question(serializers.Serializer):
    text = serializers.CharField()

    def answer(self):
        self.is_valid(raise_exception=True)
        return self.validated_data["text"]

    def validate_text(self, value):
        return client.responses.create(model="serializer_of_marked", input=value).output_text


class Note(serializers.Serializer):
    text = serializers.SerializerMethodField()

    def get_text(self, note):
        return client.responses.create(model="serializer_method_field", input="Hi").output_text


@api_view(["GET"])
def serialized(request):
    return Response(Note({}).data)


class Tagged(serializers.Serializer):
    text = serializers.CharField()

    def to_representation(self, instance):
        answer = client.responses.create(model="to_representation", input="Hi")
        return {"text": answer.output_text}


@api_view(["GET"])
def serialized_in_block(request):
    with ai_usage("chat"):
        return Response(Tagged({}).data)
