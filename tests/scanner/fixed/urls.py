"""The routes of the site."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.urls import path
from rest_framework.routers import SimpleRouter

from tests.scanner.fixed import class_views, parts, transports, views

router = SimpleRouter()
router.register("notes", class_views.Notes, basename="notes")
urlpatterns = [
    path("admin/", parts.site.urls),
    path("plain/", views.plain),
    path("coroutine/", views.coroutine),
    path("below_others/", views.below_others),
    path("below_opaque/", views.below_opaque),
    path("below_known_route/", login_required(views.below_known_route)),
    path("nested_view/", views.nested_view),
    path("static/", views.Pages.static),
    path("static_below/", login_required(views.Pages.static_below)),
    path("several/", views.several),
    path("covered_caller/", views.covered_caller),
    path("plain_caller/", views.plain_caller),
    path("one_of_two/", views.one_of_two),
    path("two_of_two/", views.two_of_two),
    path("on_commit/", views.on_commit),
    path("passed_on/", views.passed_on),
    path("unknown_callers/", views.unknown_callers),
    path("later/", views.later),
    path("in_thread/", views.in_thread),
    path("in_processes/", views.in_processes),
    path("streamed/", views.streamed),
    path("async_streamed/", views.async_streamed),
    path("api/", class_views.api),
    path("context/", parts.context),
    path("template/", parts.template),
    path("form/", parts.form),
    path("serialized/", parts.serialized),
    path("models_of_view/", parts.models_of_view),
    path("saved/", parts.saved),
    path("save_group/", parts.save_group),
    path("unhooked/", transports.unhooked),
    path("unhooked_in_section/", transports.unhooked_in_section),
    path("address/", transports.address),
    path("unknown/", transports.unknown),
    path("Page/", class_views.Page.as_view()),
    path("AsyncPage/", class_views.AsyncPage.as_view()),
    path("Inherited/", class_views.Inherited.as_view()),
    path("OfOwnBase/", class_views.OfOwnBase.as_view()),
    path("Summary/", class_views.Summary.as_view()),
    path("NoteView/", class_views.NoteView.as_view()),
    path("Api/", class_views.Api.as_view()),
    *router.urls,
]
