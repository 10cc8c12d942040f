"""A user's own usage in a browser."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from tests.browser.conftest import PHONE, Browse
from tests.support.samples import save_season

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("scheme", "size"), [("light", (1100, 900)), ("dark", PHONE)])
def test_own_page(browse: Browse, scheme: str, size: tuple[int, int]):
    now = timezone.now()
    save_season(now + dt.timedelta(days=10), days=20, calls=60)
    ada = User.objects.get(username="ada")
    ada.set_password("ada")
    ada.is_staff = True  # the tests' site has no other login page
    ada.save()
    with browse(scheme=scheme, size=size) as tab:
        tab.log_in("ada", "ada")
        tab.open("/usage/")

        text = tab.page.text_content(".ai-usage")
        assert "Customer Chat" in text
        assert "grace" not in text
        assert tab.page.locator("svg[role=img]").count() == 3
        assert tab.page.locator("svg a").count() == 0
        tab.picture(f"own-{scheme}")
