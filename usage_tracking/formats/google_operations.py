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


class OperationsReader(Reader):
    """Reads operations that make videos."""

    operation = "video_generation"

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
