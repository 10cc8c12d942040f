"""Models, whose table is not needed."""

# mypy: disable-error-code="type-arg"

from __future__ import annotations

from django.db import models

from tests.scanner.truth.ai import client
from usage_tracking import ai_usage


class NoteQuerySet(models.QuerySet):
    def summarised(self):
        return client.responses.create(model="queryset_method", input="Hi").output_text


class NoteManager(models.Manager):
    def written(self, text):
        answer = client.responses.create(model="manager_method", input=text)
        return self.model(text=answer.output_text)


class Note(models.Model):
    text = models.TextField()
    objects = NoteManager()
    notes = NoteQuerySet.as_manager()

    class Meta:
        managed = False

    def __str__(self):
        return client.responses.create(model="model_str", input="Hi").output_text

    def save(self, *args, **kwargs):
        self.text = client.responses.create(model="model_save", input=self.text).output_text

    def get_absolute_url(self):
        return client.responses.create(model="model_url", input="Hi").output_text

    def clean(self):
        with ai_usage("chat"):
            self.text = client.responses.create(model="model_clean", input="Hi").output_text
