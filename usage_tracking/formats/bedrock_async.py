"""Bedrock's asynchronous invocations, which make videos and embed long ones.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_StartAsyncInvoke.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_GetAsyncInvoke.html

AWS writes the result to S3 and reports no usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bedrock_converse import model_name
from .excerpts import member
from .reader import Job, Reader, moment, text

_MODEL = member("modelId", 2048)
#: Bytes at both ends of a request that are searched for the model.
_PART = 4096


class AsyncInvokeReader(Reader):
    """Reads asynchronous invocations."""

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, which alone names the model when the invocation begins."""
        if self.model or not body:
            return
        if isinstance(body, Mapping):
            self.model = model_name(text(body.get("modelId")))
        elif found := _MODEL.search(body[:_PART]) or _MODEL.search(body[-_PART:]):
            self.model = model_name(found[1].decode("utf-8", "replace"))

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        arn, status = text(data.get("invocationArn")), text(data.get("status"))
        self.recognised = ":async-invoke/" in arn
        self.model = model_name(text(data.get("modelArn")))
        if self.recognised:
            self.response_id = arn
            self.job = Job(arn, status in {"Completed", "Failed"}, moment(data.get("submitTime")))
        if status == "Failed":
            self.error = text(data.get("failureMessage")) or "failed"
