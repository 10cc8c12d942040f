"""Google's long-running operations, which make videos.

https://ai.google.dev/gemini-api/docs/video (`predictLongRunning` names the operation)
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation
(`fetchPredictOperation` asks for it)

Google reports no usage: videos are billed by the second.
"""

from __future__ import annotations

import re
from typing import Any

from .reader import Job, Reader, error_text, items, mapping, text

#: The name of the operation of a publisher's model. Other operations belong to models of one's own.
_NAME = re.compile(r"(?:^|/publishers/[^/]+/)models/([^/]+)/operations/[^/]+$")

_IN_BYTES = re.compile(rb'^\s*\{\s*"name"\s*:\s*"([^"\\]{1,1000})"')
_DONE = re.compile(rb'"done"\s*:\s*true')


class OperationsReader(Reader):
    """Reads operations that make videos."""

    operation = "video_generation"

    def cut(self, head: bytes) -> bool:
        """Take the beginning of an answer that holds a video: its name, and that it is done."""
        name = _IN_BYTES.search(head)
        if name is not None and _DONE.search(head):
            self.body({"name": name[1].decode("utf-8", "replace"), "done": True})
        return self.job is not None

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        name = text(data.get("name"))
        self.error = error_text(data) if data.get("error") else ""
        if (found := _NAME.search(name)) is None:
            return
        self.recognised = True
        self.model, self.response_id = found[1], name
        self.job = Job(name, data.get("done") is True)
        response = mapping(data.get("response"))
        gemini = mapping(response.get("generateVideoResponse"))
        if videos := gemini.get("generatedSamples") or response.get("videos"):
            self.facts["videos"] = len(items(videos))
