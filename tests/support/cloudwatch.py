"""A CloudWatch on 127.0.0.1 that speaks AWS JSON 1.0, which boto3 prefers.

https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
"""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class CloudWatch:
    """The metrics that it has, how it divides them into pages, and how it fails."""

    def __init__(self) -> None:
        #: (region, metric, dimensions) → start of a day in Unix seconds → sum.
        self.metrics: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[float, float]]
        self.metrics = {}
        #: Metrics that exist, but are not listed.
        self.unlisted: set[str] = set()
        self.page_size = 500
        #: Failures of the next requests: status and error code, or a body.
        self.failures: list[tuple[int, str | bytes]] = []
        self.content_type = "application/x-amz-json-1.0"
        #: Changes of every result of GetMetricData.
        self.changes: dict[str, Any] = {}
        #: Messages about GetMetricData as a whole.
        self.messages: list[dict[str, str]] = []
        self.same_token = False
        #: (region, operation, input, headers) of the requests.
        self.requests: list[tuple[str, str, dict[str, Any], dict[str, str]]] = []
        self.url = ""

    def add(
        self, region: str, model: str, metric: str, day: dt.date, value: float, **more: str
    ) -> None:
        """Add a sum of a day."""
        dimensions = tuple({"ModelId": model, **more}.items())
        start = dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()
        self.metrics.setdefault((region, metric, dimensions), {})[start] = value

    def operations(self) -> list[str]:
        """Return the names of the operations that were asked for."""
        return [operation for _, operation, _, _ in self.requests]

    def ListMetrics(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        names = {each["Name"] for each in asked["Dimensions"]}
        found = [
            {
                "Namespace": asked["Namespace"],
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions],
            }
            for at, metric, dimensions in self.metrics
            if at == region
            and names <= dict(dimensions).keys()
            and dict(dimensions)["ModelId"] not in self.unlisted
        ]
        page, token = self._page(found, asked)
        return {"Metrics": page, **token}

    def GetMetricData(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        points = []
        for query in asked["MetricDataQueries"]:
            stat = query["MetricStat"]
            assert (stat["Stat"], stat["Period"]) == ("Sum", 86_400)
            metric = stat["Metric"]
            dimensions = tuple((each["Name"], each["Value"]) for each in metric["Dimensions"])
            sums = self.metrics.get((region, metric["MetricName"], dimensions), {})
            points += [
                (query["Id"], time, value)
                for time, value in sorted(sums.items(), reverse=True)
                if asked["StartTime"] <= time < asked["EndTime"]
            ]
        page, token = self._page(points, asked)
        later = points[points.index(page[-1]) + 1 :] if page else []
        rest = {identifier for identifier, _, _ in later}
        results: dict[str, dict[str, Any]] = {}
        for identifier, time, value in page:
            result = results.setdefault(identifier, {"Id": identifier, "Label": "a label"})
            result.setdefault("Timestamps", []).append(time)
            result.setdefault("Values", []).append(value)
            result["StatusCode"] = "PartialData" if identifier in rest else "Complete"
            result |= self.changes
        answer = {"MetricDataResults": list(results.values()), **token}
        return answer | ({"Messages": self.messages} if self.messages else {})

    def _page(self, found: list[Any], asked: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
        at = int(asked.get("NextToken", "0").rpartition("-")[2] or 0)
        end = at + self.page_size
        if self.same_token:
            return found[: self.page_size], {"NextToken": "token-0"}
        return found[at:end], {"NextToken": f"token-{end}"} if end < len(found) else {}


@contextmanager
def running() -> Iterator[CloudWatch]:
    """Yield a CloudWatch that answers at its URL."""
    cloudwatch = CloudWatch()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            operation = self.headers["x-amz-target"].rpartition(".")[2]
            signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["authorization"])
            region = signed[1] if signed else ""
            asked = json.loads(body)
            cloudwatch.requests.append((region, operation, asked, dict(self.headers)))
            status = 200
            answer: str | bytes
            if cloudwatch.failures:
                status, answer = cloudwatch.failures.pop(0)
            else:
                answer = json.dumps(getattr(cloudwatch, operation)(region, asked)).encode()
            self.send_response(status)
            if isinstance(answer, str):  # a service that once spoke another protocol adds this
                self.send_header("x-amzn-query-error", f"{answer};Sender")
                answer = json.dumps({"__type": f"aws#{answer}", "message": "secret"}).encode()
            self.send_header("content-type", cloudwatch.content_type)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    cloudwatch.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cloudwatch
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
