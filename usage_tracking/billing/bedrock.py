"""The usage of Amazon Bedrock, from its metrics in CloudWatch. They have no cost and no keys.

https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-runtime-metrics.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html (metrics
without data in the past two weeks are not listed)
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html (at most 500
queries a call, `EndTime` is exclusive, the sums of days are kept for 455 days)
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from ..days import utc_today
from .billed import Billed, BillingError, Fetched
from .values import days_of

TITLE = "Amazon Bedrock"
NAMESPACE = "AWS/Bedrock"
#: A metric of a model: the other combinations of dimensions divide the same calls once more.
DIMENSION = "ModelId"
#: Metric → what it counts. AWS's pages have two names for the metrics of the cache.
METRICS = {
    "Invocations": "requests",
    "InputTokenCount": "input",
    "OutputTokenCount": "output",
    "CacheReadInputTokenCount": "cache_read",
    "CacheReadInputTokens": "cache_read",
    "CacheWriteInputTokenCount": "cache_write",
    "CacheWriteInputTokens": "cache_write",
}

_TIMEOUT = 30
_ATTEMPTS = 4
_QUERIES = 500
_PERIOD = 86_400
#: More pages than any account has: a server that repeats one must not keep us forever.
_MOST_PAGES = 1000
_LISTED_FOR = dt.timedelta(days=14)

#: A value of a dimension that CloudWatch accepts: for another it refuses all queries of a request.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
_MODEL = re.compile(r"(?!:)[!-~]{1,1024}")

#: (day, model) → what was counted → the sum.
_Counts = dict[tuple[dt.date, str], dict[str, int]]


def fetch(
    account: Mapping[str, Any],
    first: dt.date,
    last: dt.date,
    *,
    models: Collection[str] = (),
    **_: Any,
) -> Fetched:
    """Return the usage of all models in the regions of the account, by day in UTC.

    The usage of several regions is added up.

    Args:
        account: The regions, and if needed the profile and the base URL.
        first: The first day in UTC.
        last: The last day in UTC.
        models: Further models to ask for: CloudWatch does not list those that were not used for
            two weeks.

    Raises:
        BillingError: boto3 is not installed, or CloudWatch does not answer as expected.
    """
    found: _Counts = {}
    for region in dict.fromkeys(account["regions"]):
        cloudwatch = _CloudWatch(account, region)
        metrics = cloudwatch.metrics()
        metrics |= {
            _Metric(name, model) for name in METRICS for model in models if _MODEL.fullmatch(model)
        }
        for metric, day, value in cloudwatch.sums(sorted(metrics), first, last):
            counts = found.setdefault((day, metric.model), {})
            counts[metric.name] = counts.get(metric.name, 0) + value
    rows = tuple(
        _billed(*key, counts) for key, counts in sorted(found.items()) if any(counts.values())
    )
    return Fetched(tuple(days_of(first, last)), rows, _notes(first))


def _notes(first: dt.date) -> tuple[str, ...]:
    listed = utc_today() - _LISTED_FOR
    if first >= listed:
        return ()
    return (
        f"CloudWatch does not list models that were last used before {listed}. Of those, only"
        " models of the log and of the stored bill are included.",
    )


def _billed(day: dt.date, model: str, named: Mapping[str, int]) -> Billed:
    counts: dict[str, int] = {}
    for name, value in named.items():  # both names of a metric have the same data
        counts[METRICS[name]] = max(value, counts.get(METRICS[name], 0))
    read = counts.get("cache_read")
    prompt = counts.get("input")
    if prompt is not None:
        # As in Converse's `usage`, the input excludes the cache. AWS says this of the answers and,
        # in its formula of quotas, of the metrics' cache writes.
        # https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html
        prompt += (read or 0) + counts.get("cache_write", 0)
    return Billed(
        day=day,
        family="invocations",
        model_name=model,
        requests=counts.get("requests"),
        prompt_tokens=prompt,
        completion_tokens=counts.get("output"),
        cached_tokens=read,
    )


class _Metric(NamedTuple):
    """One metric of one model."""

    name: str
    model: str

    def query(self, identifier: str) -> dict[str, Any]:
        """Return the query for its sums of days."""
        dimensions = [{"Name": DIMENSION, "Value": self.model}]
        metric = {"Namespace": NAMESPACE, "MetricName": self.name, "Dimensions": dimensions}
        return {
            "Id": identifier,
            "MetricStat": {"Metric": metric, "Period": _PERIOD, "Stat": "Sum"},
        }


class _CloudWatch:
    """CloudWatch in one region."""

    def __init__(self, account: Mapping[str, Any], region: str) -> None:
        self.place = f"CloudWatch in {region}"
        try:
            self._errors = import_module("botocore.exceptions")
            session = import_module("boto3").session
            config = import_module("botocore.config").Config
        except ImportError:
            raise BillingError(
                f"The bill of {TITLE} needs the package boto3. Run: pip install boto3"
            ) from None
        self._client = self._answered(
            "its metrics",
            lambda: session.Session(profile_name=account.get("profile")).client(
                "cloudwatch",
                region_name=region,
                endpoint_url=account.get("base_url"),
                config=config(
                    connect_timeout=_TIMEOUT,
                    read_timeout=_TIMEOUT,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                ),
            ),
        )

    def metrics(self) -> set[_Metric]:
        """Return the metrics of models that have data."""
        found = set()
        for page in self._pages(
            "cloudwatch:ListMetrics",
            self._client.list_metrics,
            Namespace=NAMESPACE,
            Dimensions=[{"Name": DIMENSION}],
        ):
            for metric in page.get("Metrics", ()):
                named = {
                    each.get("Name"): each.get("Value") for each in metric.get("Dimensions", ())
                }
                name, model = metric.get("MetricName"), named.pop(DIMENSION, None)
                if name in METRICS and isinstance(model, str) and not named:
                    found.add(_Metric(name, model))
        return found

    def sums(
        self, metrics: list[_Metric], first: dt.date, last: dt.date
    ) -> Iterator[tuple[_Metric, dt.date, int]]:
        """Yield the sum of each metric on each day on which it has data."""
        start = dt.datetime.combine(first, dt.time(), dt.UTC)
        end = dt.datetime.combine(last, dt.time(), dt.UTC) + dt.timedelta(days=1)
        for at in range(0, len(metrics), _QUERIES):
            asked = {f"m{n}": metric for n, metric in enumerate(metrics[at : at + _QUERIES])}
            status: dict[str, str] = {}
            for page in self._pages(
                "cloudwatch:GetMetricData",
                self._client.get_metric_data,
                MetricDataQueries=[metric.query(name) for name, metric in asked.items()],
                StartTime=start,
                EndTime=end,
            ):
                for message in page.get("Messages", ()):
                    raise self._unreadable(f"it is incomplete, {str(message.get('Code'))[:50]!r}")
                for result in page.get("MetricDataResults", ()):
                    name = result.get("Id", "")
                    if name not in asked:
                        raise self._unreadable("it has a metric that was not asked for")
                    status[name] = result.get("StatusCode", "Complete")
                    for time, value in zip(
                        result.get("Timestamps", ()), result.get("Values", ()), strict=False
                    ):
                        yield asked[name], self._day(time, first, last), self._count(value)
            # The last page on which a metric is has the rest of its data.
            for wrong in sorted(set(status.values()) - {"Complete"}):
                raise self._unreadable(f"a metric has the status {wrong}")

    def _day(self, time: dt.datetime, first: dt.date, last: dt.date) -> dt.date:
        utc = time.astimezone(dt.UTC)
        if utc.time() != dt.time() or not first <= utc.date() <= last:
            raise self._unreadable(f"it has a sum of a day that begins at {utc:%Y-%m-%d %H:%M} UTC")
        return utc.date()

    def _count(self, value: object) -> int:
        if isinstance(value, (int, float)) and 0 <= value < math.inf:
            return round(value)
        raise self._unreadable(f"a sum is {str(value)[:50]!r}")

    def _unreadable(self, reason: str) -> BillingError:
        return BillingError(f"The answer of {self.place} cannot be read: {reason}.")

    def _pages(
        self, action: str, call: Callable[..., dict[str, Any]], **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        while True:
            page = self._answered(action, partial(call, **arguments))
            # botocore reads what is no JSON, such as the page of a proxy, as an empty answer.
            kind = page["ResponseMetadata"]["HTTPHeaders"].get("content-type", "")
            if not _TYPES.search(kind):
                raise self._unreadable(f"it is of the type {kind[:50]!r}")
            yield page
            token = page.get("NextToken")
            if not token:
                return
            if token in seen or len(seen) >= _MOST_PAGES:
                raise self._unreadable("its pages do not end")
            seen.add(token)
            arguments["NextToken"] = token

    def _answered(self, action: str, call: Callable[[], Any]) -> Any:
        """Return what `call` returns.

        Raises:
            BillingError: It failed. The message has nothing of botocore's, which may quote what was
                signed.
        """
        try:
            return call()
        except self._errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            sentence = next(
                (sentence for part, sentence in _REFUSED.items() if part in code),
                "{place} refused {action}: {code}.",
            )
            code = code if _CODE.fullmatch(code) else "an unknown error"
        except Exception as error:  # noqa: BLE001 -- botocore's parsers raise anything
            code = type(error).__name__
            sentence = _FAILED.get(code, "{place} could not be asked for {action}: {code}.")
        raise BillingError(sentence.format(place=self.place, action=action, code=code))


#: The content types of the protocols that versions of boto3 use.
_TYPES = re.compile("json|cbor|xml$|xml;")
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")

#: Part of an error code of AWS → sentence.
_REFUSED = {
    "AccessDenied": "{place} refused {action}: its credentials need a policy that allows it.",
    "Throttl": "{place} refused {action} because of too many requests. Try again later.",
    "LimitExceeded": "{place} refused {action} because of too many requests. Try again later.",
    "Expired": "The AWS credentials for {place} have expired. Renew them.",
    "UnrecognizedClient": "{place} does not know the AWS credentials. Check them.",
    "InvalidClientTokenId": "{place} does not know the AWS credentials. Check them.",
    "SignatureDoesNotMatch": "{place} does not accept the AWS credentials. Check the secret key.",
}
_NO_CREDENTIALS = "There are no AWS credentials for {place}. Set them as boto3 expects them."
#: Exception of botocore → sentence.
_FAILED = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "ProfileNotFound": (
        "The profile of AI_USAGE_BILLING['aws'] is not in the AWS configuration of this host."
    ),
    "TokenRetrievalError": "The AWS credentials for {place} have expired. Renew them.",
    "SSOTokenLoadError": "The AWS credentials for {place} have expired. Renew them.",
    "UnauthorizedSSOTokenError": "The AWS credentials for {place} have expired. Renew them.",
    "InvalidRegionError": "{place} cannot be asked: AWS has no region of this name.",
    "ConnectTimeoutError": f"{{place}} did not answer within {_TIMEOUT} seconds.",
    "ReadTimeoutError": f"{{place}} did not answer within {_TIMEOUT} seconds.",
}
