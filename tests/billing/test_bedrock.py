"""Bills of Bedrock: the real boto3 asks a CloudWatch on 127.0.0.1."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cloudwatch
from tests.support.cloudwatch import CloudWatch
from usage_tracking.billing import Billed, BillingError, bedrock, fetch

pytest.importorskip("boto3")
pytestmark = pytest.mark.server

TODAY = dt.datetime.now(dt.UTC).date()
FIRST, LAST = TODAY - dt.timedelta(days=3), TODAY - dt.timedelta(days=1)
DAYS = tuple(FIRST + dt.timedelta(days=n) for n in range(3))
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY22"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudWatch]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    # botocore waits a random time between attempts.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _no_delay)
    with cloudwatch.running() as server:
        yield server


def _no_delay(*_: Any) -> int:
    return 0


def account(server: CloudWatch, *regions: str, **more: Any) -> dict[str, Any]:
    return {"regions": list(regions or ("eu-west-1",)), "base_url": server.url, **more}


def add(
    server: CloudWatch, model: str, day: dt.date, region: str = "eu-west-1", /, **sums: float
) -> None:
    for metric, value in sums.items():
        server.add(region, model, metric, day, value)


def refused(server: CloudWatch, *regions: str, **more: Any) -> str:
    with pytest.raises(BillingError) as caught:
        bedrock.fetch(account(server, *regions, **more), FIRST, LAST)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None) or error.__suppress_context__
    assert SECRET not in repr(error)
    return str(error)


class TestUsage:
    def test_usage_of_models_and_days(self, server):
        counts = {"Invocations": 3, "InputTokenCount": 1000, "OutputTokenCount": 200}
        add(server, "anthropic.claude-sonnet-4-5-20250929-v1:0", FIRST, **counts)
        add(server, "anthropic.claude-sonnet-4-5-20250929-v1:0", LAST, **counts)
        add(server, "amazon.titan-embed-text-v2:0", LAST, Invocations=7, InputTokenCount=90)

        fetched = bedrock.fetch(account(server), FIRST, LAST)

        claude: dict[str, Any] = {
            "family": "invocations",
            "model_name": "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "requests": 3,
            "prompt_tokens": 1000,
            "completion_tokens": 200,
        }
        assert fetched.days == DAYS
        assert fetched.rows == (
            Billed(day=FIRST, **claude),
            Billed(
                day=LAST,
                family="invocations",
                model_name="amazon.titan-embed-text-v2:0",
                requests=7,
                prompt_tokens=90,
            ),
            Billed(day=LAST, **claude),
        )
        assert fetched.notes == ()
        assert server.operations() == ["ListMetrics", "GetMetricData"]

    def test_prompt_tokens_include_the_cache(self, subtests, server):
        for read, written in [
            ("CacheReadInputTokenCount", "CacheWriteInputTokenCount"),
            ("CacheReadInputTokens", "CacheWriteInputTokens"),
        ]:
            with subtests.test(read):
                add(server, "claude", LAST, InputTokenCount=10, **{read: 600, written: 50})

                (row,) = bedrock.fetch(account(server), FIRST, LAST).rows

                # Both names of a metric together are not twice the tokens.
                assert (row.prompt_tokens, row.cached_tokens) == (660, 600)

    def test_what_cloudwatch_does_not_say_is_unknown(self, server):
        add(server, "amazon.nova-canvas-v1:0", LAST, Invocations=2)

        (row,) = bedrock.fetch(account(server), FIRST, LAST).rows

        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (2, None, None)
        assert (row.cached_tokens, row.cost) == (None, None)

    def test_metrics_that_divide_the_same_calls_do_not_count_twice(self, server):
        add(server, "nova", LAST, Invocations=2)
        server.add("eu-west-1", "nova", "Invocations", LAST, 2, ServiceTier="flex")
        server.add("eu-west-1", "nova", "InvocationLatency", LAST, 700)

        (row,) = bedrock.fetch(account(server), FIRST, LAST).rows

        assert row.requests == 2

    def test_regions_are_added_up_and_each_is_asked_once(self, server):
        add(server, "nova", LAST, "eu-west-1", Invocations=2, InputTokenCount=20)
        add(server, "nova", LAST, "us-east-1", Invocations=3)

        fetched = bedrock.fetch(account(server, "eu-west-1", "us-east-1", "eu-west-1"), FIRST, LAST)

        (row,) = fetched.rows
        assert (row.requests, row.prompt_tokens) == (5, 20)
        assert [request[0] for request in server.requests] == [
            *("eu-west-1", "eu-west-1", "us-east-1", "us-east-1")
        ]

    def test_days_before_and_after_are_not_asked_for(self, server):
        for day in (FIRST - dt.timedelta(days=1), FIRST, LAST, TODAY):
            add(server, "nova", day, Invocations=1)

        fetched = bedrock.fetch(account(server), FIRST, LAST)

        assert [row.day for row in fetched.rows] == [FIRST, LAST]

    def test_account_without_usage_has_days_without_rows(self, server):
        fetched = bedrock.fetch(account(server), FIRST, LAST)

        assert (fetched.days, fetched.rows) == (DAYS, ())
        assert server.operations() == ["ListMetrics"]

    def test_model_that_is_not_listed_is_found_by_its_name(self, server):
        add(server, "old", LAST, Invocations=4)
        server.unlisted.add("old")

        assert bedrock.fetch(account(server), FIRST, LAST).rows == ()
        (row,) = bedrock.fetch(account(server), FIRST, LAST, models=["old", "never"]).rows

        assert (row.model_name, row.requests) == ("old", 4)

    def test_days_of_models_that_are_no_longer_listed_have_a_note(self, server):
        first = TODAY - dt.timedelta(days=15)

        fetched = bedrock.fetch(account(server), first, first)

        assert fetched.notes == (
            "CloudWatch does not list models that were last used before "
            f"{TODAY - dt.timedelta(days=14)}. Of those, only models of the log and of the stored "
            "bill are included.",
        )

    def test_name_that_cloudwatch_refuses_is_not_asked_for(self, server):
        server.unlisted = {"old"}
        add(server, "old", LAST, Invocations=4)

        bill = bedrock.fetch(account(server), FIRST, LAST, models=["", "naïve", ":x", "old"])

        assert [row.model_name for row in bill.rows] == ["old"]
        asked = [each[2]["MetricDataQueries"] for each in server.requests if "Data" in each[1]]
        assert {
            query["MetricStat"]["Metric"]["Dimensions"][0]["Value"]
            for queries in asked
            for query in queries
        } == {"old"}

    def test_settings_name_the_account(self, server, settings):
        settings.AI_USAGE_BILLING = {"aws": account(server)}
        add(server, "nova", LAST, Invocations=2)

        (row,) = fetch("aws", FIRST, LAST, get=None, sleep=None).rows

        assert row.requests == 2


class TestPages:
    def test_all_pages_are_read(self, server):
        models = [f"model-{n}" for n in range(7)]
        for model in models:
            for day in DAYS:
                add(server, model, day, Invocations=1, InputTokenCount=5, OutputTokenCount=2)
        server.page_size = 4

        rows = bedrock.fetch(account(server), FIRST, LAST).rows

        assert [(row.day, row.model_name) for row in rows] == [
            (day, model) for day in DAYS for model in models
        ]
        assert {(row.requests, row.prompt_tokens, row.completion_tokens) for row in rows} == {
            (1, 5, 2)
        }
        assert server.operations().count("ListMetrics") == 6
        assert server.operations().count("GetMetricData") == 16

    def test_a_request_has_at_most_500_queries(self, server):
        for n in range(251):
            add(server, f"model-{n}", LAST, Invocations=1, InputTokenCount=5)

        assert len(bedrock.fetch(account(server), FIRST, LAST).rows) == 251

        sizes = [len(asked.get("MetricDataQueries", ())) for _, _, asked, _ in server.requests]
        assert sizes == [0, 0, 500, 2]

    def test_pages_that_repeat_are_an_error(self, server):
        add(server, "nova", LAST, Invocations=1)
        server.same_token = True

        assert refused(server) == (
            "The answer of CloudWatch in eu-west-1 cannot be read: its pages do not end."
        )
        assert len(server.requests) == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "text"),
        [
            (
                403,
                "AccessDenied",
                "CloudWatch in eu-west-1 refused cloudwatch:ListMetrics: its credentials need a "
                "policy that allows it.",
            ),
            (
                403,
                "AccessDeniedException",
                "CloudWatch in eu-west-1 refused cloudwatch:ListMetrics: its credentials need a "
                "policy that allows it.",
            ),
            (
                403,
                "ExpiredToken",
                "The AWS credentials for CloudWatch in eu-west-1 have expired. Renew them.",
            ),
            (
                403,
                "InvalidClientTokenId",
                "CloudWatch in eu-west-1 does not know the AWS credentials. Check them.",
            ),
            (
                403,
                "SignatureDoesNotMatch",
                "CloudWatch in eu-west-1 does not accept the AWS credentials. Check the secret "
                "key.",
            ),
            (
                400,
                "InvalidParameterValue",
                "CloudWatch in eu-west-1 refused cloudwatch:ListMetrics: InvalidParameterValue.",
            ),
        ],
    )
    def test_refusal(self, server, status, code, text):
        server.failures = [(status, code)]

        assert refused(server) == text
        assert len(server.requests) == 1

    def test_refusal_after_the_first_page(self, server):
        add(server, "nova", LAST, Invocations=1)
        add(server, "nova", FIRST, InputTokenCount=1)
        server.page_size = 1
        bedrock.fetch(account(server), FIRST, LAST)
        assert server.operations() == ["ListMetrics"] * 2 + ["GetMetricData"] * 2
        seen = len(server.requests)

        class Later(list[Any]):
            """Fails the fourth request."""

            def __bool__(self) -> bool:
                return len(server.requests) == seen + 4

        server.failures = Later([(403, "AccessDenied")])

        assert "refused cloudwatch:GetMetricData" in refused(server)

    def test_throttled_requests_are_repeated_a_few_times(self, server):
        add(server, "nova", LAST, Invocations=1)
        server.failures = [(400, "Throttling"), (500, "InternalServiceFault"), (503, b"")]

        assert len(bedrock.fetch(account(server), FIRST, LAST).rows) == 1
        assert len(server.requests) == 5

        server.failures = [(400, "Throttling")] * 10
        assert refused(server) == (
            "CloudWatch in eu-west-1 refused cloudwatch:ListMetrics because of too many "
            "requests. Try again later."
        )
        assert len(server.requests) == 9

    def test_answer_that_is_no_json(self, server, subtests):
        server.content_type = "text/html; charset=utf-8"
        for body in (b"<html>", b"", b"{}"):
            with subtests.test(repr(body)):
                server.failures = [(200, body)]

                assert refused(server) == (
                    "The answer of CloudWatch in eu-west-1 cannot be read: it is of the type "
                    "'text/html; charset=utf-8'."
                )

    def test_answer_of_another_form(self, server, subtests):
        for body in (b"[]", b"7", b'{"Metrics": 7}'):
            with subtests.test(repr(body)):
                server.failures = [(200, body)]

                assert "CloudWatch in eu-west-1" in refused(server)

    def test_unknown_fields_do_not_matter(self, server):
        server.failures = [(200, b'{"New": 1, "Metrics": [{"Dimensions": [{"New": 1}]}, {}]}')]

        assert bedrock.fetch(account(server), FIRST, LAST).rows == ()

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"StatusCode": "InternalError"}, "a metric has the status InternalError"),
            ({"StatusCode": "Forbidden"}, "a metric has the status Forbidden"),
            ({"StatusCode": "PartialData"}, "a metric has the status PartialData"),
            ({"Id": "other"}, "it has a metric that was not asked for"),
            ({"Values": [float("nan")]}, "a sum is 'nan'"),
            ({"Values": ["many"]}, "a sum is 'many'"),
            ({"Values": [-1.0]}, "a sum is '-1.0'"),
            (
                {"Timestamps": [dt.datetime.combine(LAST, dt.time(9), dt.UTC).timestamp()]},
                f"it has a sum of a day that begins at {LAST} 09:00 UTC",
            ),
            (
                {"Timestamps": [dt.datetime.combine(TODAY, dt.time(), dt.UTC).timestamp()]},
                f"it has a sum of a day that begins at {TODAY} 00:00 UTC",
            ),
        ],
    )
    def test_answer_with_something_else(self, server, changes, reason):
        add(server, "nova", LAST, Invocations=1)
        server.changes = changes

        assert refused(server) == f"The answer of CloudWatch in eu-west-1 cannot be read: {reason}."

    def test_answer_that_is_incomplete(self, server):
        add(server, "nova", LAST, Invocations=1)
        server.messages = [{"Code": "MaxMetricsExceeded", "Value": "Too many metrics"}]

        assert refused(server) == (
            "The answer of CloudWatch in eu-west-1 cannot be read: it is incomplete, "
            "'MaxMetricsExceeded'."
        )

    def test_no_answer(self, server):
        with cloudwatch.running() as stopped:
            pass

        assert refused(stopped) == (
            "CloudWatch in eu-west-1 could not be asked for cloudwatch:ListMetrics: "
            "EndpointConnectionError."
        )

    def test_no_credentials(self, server, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        assert refused(server) == (
            "There are no AWS credentials for CloudWatch in eu-west-1. Set them as boto3 expects "
            "them."
        )

    def test_unknown_profile(self, server):
        assert refused(server, profile="billing") == (
            "The profile of AI_USAGE_BILLING['aws'] is not in the AWS configuration of this host."
        )

    def test_profile_is_used(self, server, monkeypatch, tmp_path):
        (tmp_path / "credentials").write_text(
            "[billing]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = x\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

        bedrock.fetch(account(server, profile="billing"), FIRST, LAST)

        (_, _, _, headers), *_ = server.requests
        assert "Credential=AKIAPROFILE/" in headers["Authorization"]

    def test_invalid_region(self, server):
        assert refused(server, "no-region-") == (
            "CloudWatch in no-region- cannot be asked: AWS has no region of this name."
        )

    def test_missing_boto3(self, server, monkeypatch):
        monkeypatch.setitem(sys.modules, "boto3", None)

        assert refused(server) == (
            "The bill of Amazon Bedrock needs the package boto3. Run: pip install boto3"
        )
