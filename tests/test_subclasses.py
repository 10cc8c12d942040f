"""Proxies and children of the models in a site's own apps, and user models with parents."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.children import run_python

#: A user model with its own table in addition to its parent's.
PARENT = """
from django.contrib.auth.models import AbstractUser

class Person(AbstractUser):
    pass

class Member(Person):
    pass
"""


def test_models_of_the_site_keep_daily_rows_correct(tmp_path: Path, empty_database_url: str):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "models.py").write_text(
        dedent(
            """
            from django.db import models
            from usage_tracking.models import AIUsageLog

            class Proxy(AIUsageLog):
                class Meta:
                    proxy = True

            class FailedManager(models.Manager):
                def get_queryset(self):
                    return super().get_queryset().filter(success=False)

            class Failed(AIUsageLog):
                objects = FailedManager()
                class Meta:
                    proxy = True

            class Child(AIUsageLog):
                note = models.TextField(default="")
            """
        )
    )
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from shop.models import Child, Failed, Proxy
        from usage_tracking import daily
        from usage_tracking.models import AIUsageTracking

        def look():
            print(AIUsageTracking.objects.get().total_requests, daily.drift(), end="; ")

        call_command("makemigrations", "shop", verbosity=0)
        call_command("migrate", verbosity=0)
        for Model in (Proxy, Failed, Child):
            print(Model.__name__, end=": ")
            user = User.objects.create(username="ada")
            logs = [Model(user=user, section="chat", success=False) for _ in range(4)]
            for log in logs:
                log.save()
            look()
            logs[0].success = True
            logs[0].prompt_tokens = 7
            logs[0].save()
            look()
            logs[1].delete()
            look()
            Model.objects.filter(pk=logs[2].pk).delete()
            look()
            user.delete()
            print(AIUsageTracking.objects.count(), daily.drift())
        """,
        settings="""
        INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed.splitlines() == [
        f"{model}: 4 {{}}; 4 {{}}; 3 {{}}; 2 {{}}; 0 {{}}" for model in ("Proxy", "Failed", "Child")
    ]


def test_user_model_with_a_parent_works(tmp_path: Path, empty_database_url: str):
    (tmp_path / "members" / "migrations").mkdir(parents=True)
    (tmp_path / "members" / "__init__.py").touch()
    (tmp_path / "members" / "migrations" / "__init__.py").touch()
    (tmp_path / "members" / "models.py").write_text(PARENT)
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth import get_user_model
        from django.core.management import call_command
        from usage_tracking import daily, track_ai_usage

        call_command("makemigrations", "members", verbosity=0)
        call_command("migrate", verbosity=0)
        ada = get_user_model().objects.create(username="ada")
        log, day = track_ai_usage(ada, "chat", 1, 2)
        print(log.user, log._state.adding, day.total_tokens, daily.drift())
        """,
        settings="""
        AUTH_USER_MODEL = "members.Member"
        INSTALLED_APPS = [*INSTALLED_APPS, "members"]
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == "ada False 3 {}\n"


@pytest.mark.postgres  # only PostgreSQL runs statements of two connections interleaved
@pytest.mark.parametrize(
    ("user_model", "deleted", "models"),
    [
        (
            "auth.User",
            "members.Visitor",
            """
            from django.contrib.auth.models import User

            class Visitor(User):
                class Meta:
                    proxy = True
            """,
        ),
        ("members.Member", "members.Member", PARENT),
        ("members.Member", "members.Person", PARENT),
        ("customuser.User", "customuser.User", ""),
    ],
    ids=["proxy", "child", "parent", "another key"],
)
def test_delivery_never_breaks_the_deletion_of_a_user(
    tmp_path: Path, empty_database_url: str, user_model: str, deleted: str, models: str
):
    (tmp_path / "members" / "migrations").mkdir(parents=True)
    (tmp_path / "members" / "__init__.py").touch()
    (tmp_path / "members" / "migrations" / "__init__.py").touch()
    (tmp_path / "members" / "models.py").write_text(dedent(models))
    printed = run_python(
        tmp_path,
        f"""
        import datetime as dt
        from django.apps import apps
        from django.contrib.auth import get_user_model
        from django.core.management import call_command
        from django.db import connection
        from tests.support.builders import NOON, make_event
        from tests.support.threads import run_in_threads
        from usage_tracking import daily
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        from usage_tracking.delivery.writer import store

        call_command("makemigrations", "members", verbosity=0)
        call_command("migrate", verbosity=0)
        User = get_user_model()
        ada = User.objects.create(**{{User.USERNAME_FIELD: "ada"}})
        store([make_event(user=ada)], using="default")
        late = make_event(user=ada, created_at=NOON + dt.timedelta(days=1))

        def interrupted(execute, sql, *rest):
            answer = execute(sql, *rest)
            if sql.startswith('UPDATE "ai_usage_log"'):
                run_in_threads(lambda: print(len(store([late], using="default").rows)))
            return answer

        with connection.execute_wrapper(interrupted):
            apps.get_model("{deleted}").objects.get(pk=ada.pk).delete()
        print([log.user for log in AIUsageLog.objects.all()], AIUsageTracking.objects.count())
        print(daily.drift(), User.objects.count())
        """,
        settings=f"""
        AUTH_USER_MODEL = "{user_model}"
        INSTALLED_APPS = [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "members",
            "tests.customuser",
            "usage_tracking",
        ]
        MIDDLEWARE = []
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed.splitlines() == ["1", "[None, None] 0", "{} 0"]
