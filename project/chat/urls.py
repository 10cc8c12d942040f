"""URLs of the chat app."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from project.chat import views, ways

app_name = "chat"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="chat:page")),
    path("chat/", views.page, name="page"),
    path("chat/answer/", views.answer, name="answer"),
    path("chat/answer-uncounted/", views.answer_uncounted, name="answer_uncounted"),
    path("usage/", views.usage, name="usage"),
    path("welcome/", views.welcome, name="welcome"),
    path("ways/summary/", ways.summary, name="summary"),
    path("ways/recommend/", ways.recommend, name="recommend"),
    path("ways/similar/", ways.similar, name="similar"),
    path("ways/intent/", ways.intent, name="intent"),
    path("ways/draft/", ways.draft, name="draft"),
    path("ways/compare/", ways.compare, name="compare"),
    path("ways/retried/", ways.retried, name="retried"),
    path("ways/campaign/", ways.campaign, name="campaign"),
    path("ways/rehearsal/", ways.rehearsal, name="rehearsal"),
    path("ways/hand-written/", ways.hand_written, name="hand_written"),
    path("ways/web-knowledge/", ways.web_knowledge, name="web_knowledge"),
    path("ways/shortcut/", ways.shortcut, name="shortcut"),
]
