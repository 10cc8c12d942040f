"""Configuration of the chat app."""

from __future__ import annotations

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """The configuration of the chat app."""

    name = "project.chat"
