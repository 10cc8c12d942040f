"""The dashboard's entry in the admin's index and sidebar, and the link from a user's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.management import call_command
from django.template import Context, Template, TemplateDoesNotExist
from django.template.loader import get_template
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, path, reverse

from tests.support.builders import make_superuser, make_user, save_log
from tests.support.commands import run_command
from usage_tracking import daily
from usage_tracking.admin import AIUsageDashboardAdmin, AIUsageLogAdmin, AIUsageTrackingAdmin
from usage_tracking.models import AIUsageDashboard, AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

ENTRY = "/admin/usage_tracking/aiusagedashboard/"
LOGS = "/admin/usage_tracking/aiusagelog/"


@pytest.fixture
def viewer(client: Client) -> Client:
    user = make_user("viewer", is_staff=True)
    names = ("view_aiusagelog", "view_user")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return client


def entries(client: Client, page: str = "/admin/") -> dict[str, dict[str, Any]]:
    return {
        model["object_name"]: model
        for app in client.get(page).context["available_apps"]
        if app["app_label"] == "usage_tracking"
        for model in app["models"]
    }


class TestEntry:
    def test_those_who_may_view_calls_have_it_first(self, viewer: Client):
        found = entries(viewer)

        assert [*found] == ["AIUsageDashboard", "AIUsageLog"]
        assert found["AIUsageDashboard"]["name"] == "AI usage dashboard"
        assert found["AIUsageDashboard"]["admin_url"] == ENTRY
        assert found["AIUsageDashboard"]["add_url"] is None
        assert found["AIUsageDashboard"]["view_only"]

    def test_superusers_have_it_without_links_to_add_or_change(self, admin_client: Client):
        entry = entries(admin_client)["AIUsageDashboard"]

        assert (entry["add_url"], entry["view_only"]) == (None, True)

    def test_others_do_not(self, client: Client):
        user = make_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename="view_aiusagetracking"))
        client.force_login(user)

        assert [*entries(client)] == ["AIUsageTracking"]
        assert client.get(ENTRY).status_code == 403

    def test_it_is_the_page_with_the_old_address(self, viewer: Client):
        save_log()
        query = {"start_date": "2026-03-14", "end_date": "2026-03-14"}

        pages = [
            viewer.get(url, query) for url in (ENTRY, reverse("admin:usage_tracking_dashboard"))
        ]

        first, second = (page.text.partition('id="content-main"')[2] for page in pages)
        assert first == second != ""
        assert "current-model" in pages[0].text.partition(ENTRY)[0][-300:]

    @pytest.mark.parametrize(
        "page", ["add/", "1/change/", "1/delete/", "1/history/", "export/csv/"]
    )
    def test_it_has_no_other_pages(self, admin_client: Client, page: str):
        assert admin_client.get(ENTRY + page).status_code == 404

    def test_there_are_no_permissions_to_grant(self):
        assert not Permission.objects.filter(content_type__model="aiusagedashboard").exists()
        assert (
            ContentType.objects.get_for_model(
                AIUsageDashboard, for_concrete_model=False
            ).model_class()
            is AIUsageDashboard
        )


class TestProxy:
    def test_dump_of_all_models_has_each_row_once(self):
        save_log()

        told = run_command("dumpdata", "usage_tracking")

        assert [x.object.__class__.__name__ for x in serializers.deserialize("json", told.out)] == [
            "AIUsageLog"
        ]

    def test_rows_written_with_it_are_counted(self):
        ada = make_user()
        log = AIUsageDashboard.objects.create(user=ada, section="chat", prompt_tokens=1)
        assert daily.drift() == {}
        log.prompt_tokens = 5
        log.save()
        assert daily.drift() == {}
        log.delete()
        assert daily.drift() == {}
        ada.delete()

    def test_no_migration_is_missing(self):
        call_command("makemigrations", "usage_tracking", check=True, dry_run=True, verbosity=0)


class Secretive(AIUsageLogAdmin):
    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return bool(request.user.username == "boss")


secretive = admin.AdminSite(name="secretive")
secretive.register(AIUsageLog, Secretive)
secretive.register(AIUsageDashboard, AIUsageDashboardAdmin)
secretive.register(AIUsageTracking, AIUsageTrackingAdmin)
secretive.register(User, UserAdmin)
#: As before the dashboard had an entry of its own.
older = admin.AdminSite(name="older")
older.register(AIUsageLog, AIUsageLogAdmin)
older.register(User, UserAdmin)
alone = admin.AdminSite(name="alone")
alone.register(AIUsageDashboard, AIUsageDashboardAdmin)
without = admin.AdminSite(name="without")
without.register(User, UserAdmin)
plain = admin.AdminSite(name="plain")
plain.register(AIUsageLog)
plain.register(User, UserAdmin)
urlpatterns = [
    path("admin/", admin.site.urls),
    *(path(f"{x.name}/", x.urls) for x in (secretive, older, alone, without, plain)),
]


@pytest.mark.urls(__name__)
class TestOtherSites:
    def test_admin_of_the_calls_decides_who_may_view(self, client: Client):
        client.force_login(make_superuser())
        assert client.get("/secretive/usage_tracking/aiusagedashboard/").status_code == 403
        client.force_login(make_superuser("boss"))
        answer = client.get("/secretive/usage_tracking/aiusagedashboard/")
        assert answer.status_code == 200
        assert "/secretive/usage_tracking/aiusagelog/?" in answer.text
        assert 'href="/admin/' not in answer.text

    def test_list_of_daily_rows_links_to_it_where_the_visitor_may_view_it(self, client: Client):
        for name, linked in (("root", False), ("boss", True)):
            client.force_login(make_superuser(name))
            page = client.get("/secretive/usage_tracking/aiusagetracking/").text

            assert ('aiusagedashboard/">Dashboard</a>' in page) is linked

    def test_site_without_the_list_has_a_dashboard_without_links(self, admin_client: Client):
        save_log()

        answer = admin_client.get(
            "/alone/usage_tracking/aiusagedashboard/?start_date=2026-03-14&end_date=2026-03-14"
        )

        assert answer.status_code == 200
        assert "Customer Chat" in answer.text
        assert "/admin/usage_tracking/aiusagelog" not in answer.text

    @pytest.mark.parametrize(
        ("site", "expected"),
        [
            ("admin", "/admin/usage_tracking/aiusagedashboard/"),
            ("older", "/older/usage_tracking/aiusagelog/dashboard/"),
            ("secretive", ""),
            ("without", ""),
            ("plain", ""),
        ],
    )
    def test_page_of_a_user_links_within_its_site(
        self, admin_client: Client, site: str, expected: str
    ):
        ada = make_user()

        content = admin_client.get(f"/{site}/auth/user/{ada.pk}/change/").text

        assert "historylink" in content
        assert ('">AI usage</a></li>' in content) == bool(expected)
        assert (f'href="{expected}?user={ada.pk}"' in content) == bool(expected)


class TestUserPage:
    def test_link_shows_the_usage_of_the_user(self, viewer: Client):
        ada = make_user()
        save_log(user=ada)
        save_log()
        content = viewer.get(f"/admin/auth/user/{ada.pk}/change/").text
        link = f"{ENTRY}?user={ada.pk}"
        assert f'<li><a href="{link}">AI usage</a></li>' in content

        answer = viewer.get(f"{link}&start_date=2026-03-14&end_date=2026-03-14")

        assert answer.context["report"].totals.calls == 1

    def test_others_have_no_link(self, client: Client):
        user = make_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename="view_user"))
        client.force_login(user)

        content = client.get(f"/admin/auth/user/{user.pk}/change/").text

        assert "historylink" in content
        assert "AI usage" not in content

    def test_template_of_the_site_comes_first(self, viewer: Client, tmp_path: Any, settings: Any):
        folder = tmp_path / "admin" / "auth" / "user"
        folder.mkdir(parents=True)
        (folder / "change_form.html").write_text(
            '{% extends "admin/change_form.html" %}{% block object-tools-items %}'
            '{{ block.super }}{% include "admin/usage_tracking/user_tools.html" %}{% endblock %}'
        )
        settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path]}]
        ada = make_user()

        content = viewer.get(f"/admin/auth/user/{ada.pk}/change/").text

        assert content.count(f"{ENTRY}?user={ada.pk}") == 2

        (folder / "change_form_object_tools.html").write_text("NOTHING")
        settings.TEMPLATES = [settings.TEMPLATES[0] | {"NAME": "again"}]
        content = viewer.get(f"/admin/auth/user/{ada.pk}/change/").text
        assert "NOTHING" in content
        assert content.count("?user=") == 1

    def test_admin_with_a_template_of_its_own_keeps_it(self, viewer: Client, monkeypatch: Any):
        monkeypatch.setattr(
            UserAdmin, "change_form_template", "admin/auth/user/change_form_of_test.html"
        )
        with pytest.raises(TemplateDoesNotExist, match="change_form_of_test"):
            viewer.get(f"/admin/auth/user/{make_user().pk}/change/")

    def test_tag_is_empty_without_a_request(self):
        text = "{% load ai_usage_admin %}[{% usage_url user %}]"

        assert Template(text).render(Context({"user": make_user()})) == "[]"

    def test_tag_works_without_the_request_context_processor(self, viewer: Client):
        request = RequestFactory().get("/")
        request.user = make_superuser()
        ada = make_user()
        text = "{% load ai_usage_admin %}{% usage_url user %}"

        found = Template(text).render(Context({"user": ada, "request": request}))

        assert found == f"{ENTRY}?user={ada.pk}"

    def test_link_is_a_button_where_the_theme_has_no_list(
        self, viewer: Client, monkeypatch: pytest.MonkeyPatch
    ):
        request = RequestFactory().get("/")
        request.user = make_superuser()
        ada = make_user()
        context = {
            "original": ada,
            "request": request,
            "jazzmin_ui": {"button_classes": {"secondary": "btn-quiet"}},
        }
        template = get_template("admin/usage_tracking/user_tools.html")
        url = f"{ENTRY}?user={ada.pk}"

        assert f'<li><a href="{url}">' in template.render(context)

        # tests/browser/test_themes.py shows the pages under the themes themselves.
        monkeypatch.setattr("usage_tracking.admin.themes.theme", lambda: "jazzmin")
        text = template.render(context)
        assert "<li>" not in text
        assert f'<a class="btn w-100 btn-sm btn-quiet" href="{url}">AI usage</a>' in text


def test_list_of_another_model_class_does_not_exist():
    with pytest.raises(NoReverseMatch):
        reverse("admin:usage_tracking_aiusagedashboard_add")
