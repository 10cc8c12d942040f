"""The site's own names for `usage_tracking`, and one that only looks like it."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial

from django.db import models

from usage_tracking import ai_section as section_of
from usage_tracking import ai_usage as tracked_block

DEFAULT_SECTION = "chat"
NO_SECTION = None

in_chat = tracked_block("chat")
chat_block = partial(tracked_block, section="chat")
user_block = partial(tracked_block, metadata={"page": 1})


class Section(models.TextChoices):
    CHAT = "chat"
    SEARCH = "search"


def marks(section):
    """Decorate a view as `ai_section` does."""

    def mark(view):
        view.ai_section = section
        return view

    return mark


def in_section(section, function, *args, **kwargs):
    with tracked_block(section=section):
        return function(*args, **kwargs)


def beside_section(section, function, *args, **kwargs):
    with tracked_block(section=section):
        pass
    return function(*args, **kwargs)


class fake:
    """Names of another package."""

    @staticmethod
    def ai_usage(section=None):
        return nullcontext()

    @staticmethod
    def ai_section(section):
        return lambda view: view

    @staticmethod
    def track_ai_usage(user, section):
        return user, section


class Tracks:
    @contextmanager
    def tracked(self):
        with tracked_block(section="chat"):
            yield

    @contextmanager
    def timed(self):
        yield


mark_chat = section_of("chat")
