"""Create tables, tenants and one user each with the same key, and print their session keys."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import django
from django.conf import settings


def log_in(username: str) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User

    user = User(username=username)
    user.save()
    session: Any = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def main() -> None:
    django.setup()
    from django.core.management import call_command

    names = ("one", "two")
    if "django_tenants" in settings.INSTALLED_APPS:
        from django_tenants.utils import tenant_context

        from tests.tenants.customers.models import Customer, Domain

        call_command("migrate_schemas", shared=True, verbosity=0, stdout=sys.stderr)
        contexts: dict[str, Any] = {}
        for schema in ("public", *names):
            customer = Customer(schema_name=schema)
            customer.save(verbosity=0)
            domain = "127.0.0.1" if schema == "public" else f"{schema}.localhost"
            Domain.objects.create(domain=domain, tenant=customer, is_primary=True)
            contexts[schema] = tenant_context(customer)
        contexts["nobody"] = contexts.pop("public")
    else:
        from tests.tenants.routing import active

        for alias in ("default", *names):
            call_command("migrate", database=alias, verbosity=0)
        contexts = {"nobody": nullcontext(), **{name: active(name) for name in names}}
    sessions = {}
    for name, context in contexts.items():
        with context:
            sessions[name] = log_in(f"user of {name}")
    print(json.dumps(sessions))


if __name__ == "__main__":
    main()
