"""AI_USAGE_BILLING: its accounts, what is wrong with them, and no message with a key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage
from hypothesis import given
from hypothesis import strategies as st

from tests.support.children import run_python
from tests.support.commands import run_command
from usage_tracking import checks
from usage_tracking.billing import BillingError, Fetched, accounts, families, fetch, sources

KEY = "sk-admin-Zq8Xw3Lk9Tn4Vb7Rm2"
CHOICES = "Choose from openai, anthropic, openrouter, aws."
URL = 'an http:// or https:// URL such as "https://api.example.com/v1"'

FAULTS: list[tuple[Any, str]] = [
    ([("openai", KEY)], " must be a dictionary, not list."),
    (
        {"bedrock": {"regions": ["eu-west-1"]}},
        " has an unknown provider, 'bedrock'. Did you mean 'aws'?",
    ),
    ({"opanai": {"key": KEY}}, " has an unknown provider, 'opanai'. Did you mean 'openai'?"),
    ({"OpenAI": {"key": KEY}}, " has an unknown provider, 'OpenAI'. Did you mean 'openai'?"),
    ({"xyzzy": {"key": KEY}}, f" has an unknown provider, 'xyzzy'. {CHOICES}"),
    ({KEY: {}}, f" has an unknown provider. {CHOICES}"),
    ({7: {}}, f" has an unknown provider. {CHOICES}"),
    ({"openai": KEY}, "['openai'] must be a dictionary, not str."),
    (
        {"openai": {"key": KEY, "projects": []}},
        "['openai'] has an unknown option, 'projects'. Did you mean 'project_ids'?",
    ),
    (
        {"openrouter": {"key": KEY, "api_key": KEY}},
        "['openrouter'] has an unknown option, 'api_key'. Did you mean 'api_key_ids'?",
    ),
    (
        {"openrouter": {"key": KEY, KEY: True}},
        "['openrouter'] has an unknown option. Choose from key, api_key_ids, base_url.",
    ),
    (
        {"aws": {"key": KEY, "regions": ["eu-west-1"]}},
        "['aws'] has an unknown option, 'key'. Choose from regions, profile, base_url.",
    ),
    (
        {"openai": {"project_ids": ["proj_1"]}},
        """['openai'] must have a "key": an admin key of the provider.""",
    ),
    ({"openai": {"key": 7}}, "['openai']['key'] must be text, not int."),
    ({"openai": {"key": [KEY]}}, "['openai']['key'] must be text, not list."),
    (
        {"openai": {"key": f"{KEY}\n"}},
        "['openai']['key'] must be one word of ASCII characters, without spaces.",
    ),
    (
        {"openai": {"key": KEY, "project_ids": "proj_1"}},
        "['openai']['project_ids'] must be a list of text, not str.",
    ),
    (
        {"openai": {"key": KEY, "api_key_ids": ["key_1", None]}},
        "['openai']['api_key_ids'] must be a list of text; one item is NoneType.",
    ),
    (
        {"anthropic": {"key": KEY, "workspace_ids": [" "]}},
        "['anthropic']['workspace_ids'] must be a list of text; one item is empty text.",
    ),
    (
        {"openai": {"key": KEY, "base_url": None}},
        f"['openai']['base_url'] must be {URL}, not NoneType.",
    ),
    (
        {"openai": {"key": KEY, "base_url": "ftp://example.com"}},
        f"['openai']['base_url'] must be {URL}.",
    ),
    (
        {"openai": {"key": KEY, "base_url": "api.example.com"}},
        f"['openai']['base_url'] must be {URL}.",
    ),
    (
        {"openai": {"key": KEY, "base_url": "https://a b"}},
        f"['openai']['base_url'] must be {URL}.",
    ),
    (
        {"openai": {"key": KEY, "base_url": "https://example.com:port"}},
        f"['openai']['base_url'] must be {URL}.",
    ),
    (
        {"openai": {"key": KEY, "base_url": f"https://ada:{KEY}@example.com"}},
        f"['openai']['base_url'] must be {URL}, without a user, a query and a fragment.",
    ),
    (
        {"openai": {"key": KEY, "base_url": f"https://example.com?key={KEY}"}},
        f"['openai']['base_url'] must be {URL}, without a user, a query and a fragment.",
    ),
    ({"aws": {}}, """['aws'] must have "regions", such as ["eu-central-1"]."""),
    ({"aws": {"regions": []}}, """['aws'] must have "regions", such as ["eu-central-1"]."""),
    ({"aws": {"regions": "eu-west-1"}}, "['aws']['regions'] must be a list of text, not str."),
    (
        {"aws": {"regions": ["eu-west-1", KEY]}},
        """['aws']['regions'] must be names of AWS regions, such as ["eu-central-1"].""",
    ),
    (
        {"aws": {"regions": ["eu-west-1"], "profile": None}},
        "['aws']['profile'] must be the name of an AWS profile, not NoneType.",
    ),
]
VALID: list[dict[str, Any]] = [
    {},
    {"openai": {"key": KEY}},
    {"openai": {"key": KEY, "project_ids": [], "api_key_ids": ("key_1",)}},
    {"openai": {"key": KEY, "base_url": "https://llm.example.com/openai/v1"}},
    {"openai": {"key": KEY, "base_url": "http://localhost:8000/v1"}},
    {"openai": {"key": KEY, "base_url": "http://127.0.0.1:8000"}},
    {"openai": {"key": KEY, "base_url": "http://[::1]:8000"}},
    {"anthropic": {"key": KEY, "workspace_ids": ["wrkspc_1"], "api_key_ids": ["apikey_1"]}},
    {"openrouter": {"key": KEY, "api_key_ids": ["5f2c"]}},
    {"aws": {"regions": ["eu-west-1"], "profile": "billing"}},
    {"aws": {"regions": ("us-gov-west-1", "cn-north-1"), "base_url": "http://10.0.0.7:4566"}},
]


def reported() -> list[tuple[str, str, str | None]]:
    messages: list[CheckMessage] = checks.check_settings()
    return [
        (str(message.id).removeprefix("usage_tracking."), message.msg, message.hint)
        for message in messages
    ]


class TestFaults:
    def test_fault_is_a_sentence_without_the_key(self, subtests):
        for setting, text in FAULTS:
            with subtests.test(text):
                assert list(accounts.faults(setting)) == [f"AI_USAGE_BILLING{text}"]
                assert KEY not in text

    def test_valid_setting_has_no_fault(self, subtests, settings):
        for setting in VALID:
            with subtests.test(str(setting)):
                settings.AI_USAGE_BILLING = setting
                assert reported() == []

    def test_every_account_is_checked(self):
        setting = {
            "openai": {},
            "aws": {"regions": ["us-east-1"]},
            "anthropic": {"key": KEY, "x": 1},
        }

        assert len(list(accounts.faults(setting))) == 2

    @given(
        st.recursive(
            st.none() | st.integers() | st.just(KEY) | st.sampled_from(["key", "aws", "regions"]),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from([*accounts.OPTIONS, "key", "base_url", "regions", KEY]), inner
                )
            ),
            max_leaves=12,
        )
    )
    def test_no_setting_raises_or_shows_its_key(self, setting):
        texts = [
            *accounts.faults(setting),
            *accounts.empty_keys(setting),
            *accounts.clear_text(setting),
            *accounts.shared_keys(setting),
        ]

        assert KEY not in " ".join(texts)


class TestChecks:
    @pytest.mark.django_db
    def test_check_command_reports_a_fault(self, settings):
        settings.AI_USAGE_BILLING = {"bedrock": {"key": KEY}}

        assert run_command("check") == (
            1,
            "",
            "SystemCheckError: System check identified some issues:\n\nERRORS:\n"
            "?: (usage_tracking.E016) AI_USAGE_BILLING has an unknown provider, 'bedrock'. "
            "Did you mean 'aws'?\n\tHINT: See docs/settings.md#bills.\n\n"
            "System check identified 1 issue (0 silenced).\n",
        )

    def test_wrong_type_is_reported_without_its_value(self, settings):
        settings.AI_USAGE_BILLING = [KEY]

        assert reported() == [
            ("E001", "AI_USAGE_BILLING must be of type dict, not list.", None),
        ]

    def test_key_that_makes_calls_is_reported(self, settings, monkeypatch):
        settings.AI_USAGE_BILLING = {"openai": {"key": KEY}, "anthropic": {"key": KEY[:-1]}}
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("SHOP_CLAUDE_API_KEY", KEY[:-1])
        hint = (
            "Create an admin key that makes no calls, and give it only to the host whose cron "
            "runs reconcile_ai_usage."
        )

        assert reported() == [
            (
                "W011",
                "AI_USAGE_BILLING['openai']['key'] also makes calls: the environment variable "
                "OPENAI_API_KEY has the same value.",
                hint,
            ),
            (
                "W011",
                "AI_USAGE_BILLING['anthropic']['key'] also makes calls: the environment variable "
                "SHOP_CLAUDE_API_KEY has the same value.",
                hint,
            ),
        ]

    def test_setting_with_the_same_key_is_reported(self, settings):
        settings.AI_USAGE_BILLING = {"openrouter": {"key": KEY}}
        settings.OPENROUTER_API_KEY = KEY

        ((code, text, _),) = reported()

        assert code == "W011"
        assert text.endswith(": the setting OPENROUTER_API_KEY has the same value.")

    def test_own_variable_of_the_admin_key_is_right(self, settings, monkeypatch):
        settings.AI_USAGE_BILLING = {"openai": {"key": KEY}}
        settings.OPENAI_ADMIN_API_KEY = KEY
        for name in ("OPENAI_ADMIN_KEY", "OPENROUTER_MANAGEMENT_API_KEY", "BILLING_API_KEY"):
            monkeypatch.setenv(name, KEY)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-another")

        assert reported() == []

    def test_empty_key_of_a_host_that_serves_pages_is_right(self, subtests, settings):
        for empty in (None, ""):
            with subtests.test(repr(empty)):
                settings.AI_USAGE_BILLING = {"openai": {"key": empty}}

                assert reported() == []

    def test_url_without_tls_of_another_host_is_a_warning(self, subtests, settings):
        for url in ("http://10.0.0.7", "http://llm.example.com:8000/v1", "http://localhost.test"):
            with subtests.test(url):
                settings.AI_USAGE_BILLING = {"openai": {"key": KEY, "base_url": url}}

                assert reported() == [
                    (
                        "W012",
                        "AI_USAGE_BILLING['openai']['base_url'] must be an https:// URL for "
                        "another host: without TLS, the key travels in clear text.",
                        "See docs/settings.md#bills.",
                    )
                ]


@pytest.mark.process
@pytest.mark.one_database
def test_start_of_a_site_with_accounts_imports_no_source(tmp_path: Path):
    printed = run_python(
        tmp_path,
        """
        import sys
        from django.core.management import call_command
        call_command("check")
        print({name.rpartition(".")[2] for name in sys.modules if ".billing." in name}
              - {"accounts", "billed", "families"})
        """,
        settings='AI_USAGE_BILLING = {"openai": {"key": "sk-admin-1"}}',
    )

    assert printed.splitlines()[-1] == "set()"


class TestFetch:
    """What `billing.fetch` refuses before any request."""

    DAY = dt.date(2026, 3, 14)

    def refused(self, provider: str) -> str:
        with pytest.raises(BillingError) as caught:
            fetch(provider, self.DAY, self.DAY, get=None)
        assert KEY not in repr(caught.value)
        return str(caught.value)

    def test_provider_without_a_source(self):
        assert self.refused("bedrock") == (
            "The bill of 'bedrock' cannot be read. Choose from openai, anthropic, openrouter, aws."
        )

    def test_provider_without_an_account(self, subtests, settings):
        cases: list[dict[str, Any]] = [{}, {"openai": {}}, {"aws": {"regions": ["eu-west-1"]}}]
        for setting in cases:
            with subtests.test(str(setting)):
                settings.AI_USAGE_BILLING = setting
                assert self.refused("openai") == "AI_USAGE_BILLING has no account of openai."

    def test_account_with_a_fault(self, subtests, settings):
        for setting, text in [
            (KEY, " must be a dictionary, not str."),
            (
                {"openai": {"key": ""}},
                "['openai']['key'] is empty: the bill cannot be read on this host.",
            ),
            *((setting, text) for setting, text in FAULTS if "openai" in setting),
        ]:
            with subtests.test(text):
                settings.AI_USAGE_BILLING = setting
                assert self.refused("openai") == f"AI_USAGE_BILLING{text}"

    def test_fault_of_another_account_does_not_matter(self, settings, monkeypatch):
        settings.AI_USAGE_BILLING = {"openai": {"key": KEY}, "aws": {"key": KEY}}
        asked: list[Any] = []

        def fetch_nothing(*arguments: Any, **more: Any) -> Fetched:
            asked.append((arguments, more))
            return Fetched((), ())

        source = sources.SOURCES["openai"]._replace(fetch=fetch_nothing)
        monkeypatch.setitem(sources.SOURCES, "openai", source)

        fetch("openai", self.DAY, self.DAY, get="get")

        assert asked == [(({"key": KEY}, self.DAY, self.DAY), {"get": "get"})]

    def test_every_source_has_its_options(self):
        assert list(sources.SOURCES) == list(accounts.OPTIONS) == list(families.FAMILIES)
