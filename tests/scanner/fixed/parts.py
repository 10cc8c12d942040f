"""The other parts of a site: middleware, forms, models, signals, the admin."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import models
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpResponse
from django.template import Context, RequestContext, Template
from rest_framework import serializers

from tests.scanner.fixed.ai import client
from usage_tracking import ai_section, ai_usage


class Notes:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "notes" in request.GET:
            # fix: put the statement at line +2 into `with ai_usage(section="…"):`
            with ai_usage(section="chat"):  # fixed
                client.responses.create(model="middleware", input="Hi")
        return self.get_response(request)


def rewrites(get_response):
    def middleware(request):
        if "notes" in request.GET:
            # fix: put the statement at line +2 into `with ai_usage(section="…"):`
            with ai_usage(section="chat"):  # fixed
                client.responses.create(model="middleware_function", input="Hi")
        return get_response(request)

    return middleware


def greeting(request):
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        return {"hello": client.responses.create(model="context_processor", input="Hi").output_text}


def context(request):
    return HttpResponse(Template("").render(RequestContext(request)))


def template(request):
    return HttpResponse(Template("{% load fixed %}{% summary %}").render(Context()))


class NoteForm(forms.Form):
    text = forms.CharField()

    def clean_text(self):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            return client.responses.create(model="form_clean", input="Hi").output_text


def form(request):
    return HttpResponse(str(NoteForm({"text": "Hi"}).is_valid()))


class Tagged(serializers.Serializer):
    text = serializers.SerializerMethodField()

    def get_text(self, note):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            return client.responses.create(model="serializer", input="Hi").output_text


def serialized(request):
    return HttpResponse(str(Tagged({}).data))


class NoteManager(models.Manager):
    def written(self, text):
        answer = client.responses.create(model="manager", input=text)
        return self.model(text=answer.output_text)


class Note(models.Model):
    text = models.TextField()
    objects = NoteManager()

    class Meta:
        managed = False

    def __str__(self):
        return self.text

    def save(self, *args, **kwargs):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            self.text = client.responses.create(model="model_save", input=self.text).output_text


# fix: decorate models_of_view with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def models_of_view(request):
    note = Note.objects.written("Hi")
    return HttpResponse(str(note))


def saved(request):
    for note in [Note(text="Hi")]:
        note.save()
    return HttpResponse()


@receiver(pre_save, sender=Group)
def describe(sender, instance, **kwargs):
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        client.responses.create(model="signal_receiver", input="Hi")


def save_group(request):
    Group(name="described").save()
    return HttpResponse()


class GroupAdmin(admin.ModelAdmin):
    actions = ["summarise"]

    def summarise(self, request, queryset):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            client.responses.create(model="admin_action", input="Hi")

    def get_queryset(self, request):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            client.responses.create(model="admin_queryset", input="Hi")
        return super().get_queryset(request)


site = admin.AdminSite("fixed")
site.register(Group, GroupAdmin)
site.register(User)
