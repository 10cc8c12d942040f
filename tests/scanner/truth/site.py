"""The other parts of a site: forms, admin, templates, resolvers, health checks."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpResponse
from django.template import Context, Template
from django.utils.functional import SimpleLazyObject
from django.views.generic import FormView
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, GraphQLString, graphql_sync

from tests.scanner.truth import prefixed
from tests.scanner.truth.ai import client
from tests.scanner.truth.models import Note
from usage_tracking import ai_section, ai_usage

MOTTO = client.responses.create(model="at_import", input="Hi").output_text

with ai_usage("chat"):
    SLOGAN = client.responses.create(model="at_import_in_block", input="Hi").output_text


def greeting(request):
    """A context processor."""
    return {
        "greeting": client.responses.create(model="context_processor", input="Hi").output_text,
        "lazy": SimpleLazyObject(
            lambda: client.responses.create(model="lazy_context", input="Hi").output_text
        ),
    }


def template(request):
    page = Template("{% load truth %}{% summary %}{{ 'Hi'|rephrased }}")
    with ai_usage("chat"):
        return HttpResponse(page.render(Context()))


def context(request):
    from django.shortcuts import render

    return render(request, "truth/empty.html")


class NoteForm(forms.Form):
    text = forms.CharField()

    def clean_text(self):
        with ai_usage("chat"):
            return client.responses.create(model="form_clean_field", input="Hi").output_text

    def clean(self):
        client.responses.create(model="form_clean", input="Hi")


def form(request):
    return HttpResponse(str(NoteForm({"text": "Hi"}).is_valid()))


class CheckedForm(forms.Form):
    text = forms.CharField()

    def clean(self):
        client.responses.create(model="form_clean_in_block", input="Hi")


def form_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(str(CheckedForm({"text": "Hi"}).is_valid()))


class MarkedForm(forms.Form):
    text = forms.CharField()

    def save(self):
        return client.responses.create(model="form_of_marked_view", input="Hi").output_text


@ai_section("chat")
class NoteFormView(FormView):
    form_class = MarkedForm

    def form_valid(self, form):
        return HttpResponse(form.save())


def models_of_view(request):
    with ai_usage("chat"):
        Note(text="Hi").save()
        note = Note.objects.written("Hi")
        Note.notes.summarised()
        found = str(note)
    note.clean()
    return HttpResponse(found + note.get_absolute_url())


class NoteAdmin(admin.ModelAdmin):
    actions = ["summarise", "summarise_in_block"]
    list_display = ["name", "summary"]

    def summarise(self, request, queryset):
        client.responses.create(model="admin_action", input="Hi")

    @ai_usage("chat")
    def summarise_in_block(self, request, queryset):
        client.responses.create(model="admin_action_in_block", input="Hi")

    @ai_section("chat")
    def summary(self, group):
        return client.responses.create(model="admin_column", input="Hi").output_text


notes = admin.AdminSite("truth")
notes.register(Group, NoteAdmin)


@receiver(pre_save, sender=Group)
def describe(sender, instance, **kwargs):
    if instance.name == "described":
        client.responses.create(model="receiver_of_save", input="Hi")


def save_group(request):
    with ai_usage("chat"):
        Group(name="described").save()
    return HttpResponse()


def _resolve(root, info):
    return client.responses.create(model="graphql_resolver", input="Hi").output_text


def _resolve_in_block(root, info):
    with ai_usage("chat"):
        return client.responses.create(model="graphql_resolver_in_block", input="Hi").output_text


schema = GraphQLSchema(
    GraphQLObjectType(
        "Query",
        {
            "answer": GraphQLField(GraphQLString, resolve=_resolve),
            "block": GraphQLField(GraphQLString, resolve=_resolve_in_block),
        },
    )
)


def graphql(request):
    return HttpResponse(str(graphql_sync(schema, "{answer block}").data))


def health(request):
    with ai_usage(section="other"):
        return HttpResponse(
            client.responses.create(model="default_section", input="Hi").output_text
        )


def _kept():
    return client.responses.create(model="cached_in_block", input="Hi").output_text


def cached(request):
    with ai_usage("chat"):
        return HttpResponse(cache.get_or_set("truth", _kept))


def helper_in_mapped_module(request):
    return HttpResponse(prefixed.helper_by_module())
