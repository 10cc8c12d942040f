"""Videos that are made in the background.

https://platform.openai.com/docs/api-reference/videos/object (also Azure, Together and gateways)
https://learn.microsoft.com/azure/ai-services/openai/video-generation-quickstart (the jobs of the
first Sora)
https://openrouter.ai/docs/api/api-reference/video-generation/get-videos (reports the cost)
https://docs.x.ai/developers/model-capabilities/video/generation (reports the cost; the answer to a
poll does not repeat the id, which is in its path)

They are billed by the second or by the video. No unit counts those, so they are facts. Not all
answers say when the video was begun, and gateways invent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..usage import Usage
from .reader import Job, Reader, cost, count, error_text, mapping, moment, seconds, text

_OBJECTS = frozenset({"video", "video.generation.job"})
_GOING_ON = frozenset(
    {"queued", "pending", "in_progress", "preprocessing", "running", "processing", "created"}
)
_FAILED = frozenset({"failed", "expired", "error"})
#: Members of the requests for xAI's videos, and those of their answers.
_BEGUN, _MADE = frozenset({"request_id"}), frozenset({"duration", "respect_moderation"})


class VideosReader(Reader):
    """Reads jobs that make a video."""

    operation = "video_generation"

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, whose path names the job that the answer is about."""
        if self.job is not None and not self.job.id:
            self.job = self.job._replace(id=path.rstrip("/").rpartition("/")[2])

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        status, video = text(data.get("status")).lower(), mapping(data.get("video"))
        self.model = text(data.get("model"))
        self.error = error_text(data) if data.get("error") else text(data.get("failure_reason"))
        if status in _FAILED and not self.error:
            self.error = status
        job_id = text(data.get("id")) or text(data.get("request_id"))
        self.recognised = _is_job(data, video)
        if not (status or job_id):
            return
        self.response_id = job_id
        ended = bool(status) and status not in _GOING_ON
        self.job = Job(job_id, ended, moment(data.get("created_at")))
        if not self.recognised:
            return
        faults: dict[str, str] = {}
        # Before the end it may be what has been charged so far.
        if ended and (usage := mapping(data.get("usage"))):
            self.use(Usage.of({}, cost=cost(usage, faults), faults=faults))
        self._measure(data, video)

    def _measure(self, data: dict[str, Any], video: dict[str, Any]) -> None:
        length = seconds(data.get("seconds", data.get("n_seconds", video.get("duration"))))
        if length:
            self.facts["video_seconds"] = length
        size = text(data.get("size"))
        if (width := count(data.get("width"))) and (height := count(data.get("height"))):
            size = f"{width}x{height}"
        if size:
            self.facts["video_size"] = size[:50]
        if (number := count(data.get("n_variants"))) and number > 1:
            self.facts["videos"] = number


def _is_job(data: dict[str, Any], video: dict[str, Any]) -> bool:
    status = text(data.get("status"))
    return (
        data.keys() == _BEGUN  # xAI
        or (bool(status) and text(data.get("object")) in _OBJECTS)
        or (bool(status) and {"seconds", "size", "model"} <= data.keys())  # Together
        or (bool(status) and bool(text(data.get("polling_url"))))  # OpenRouter
        or (bool(status) and not _MADE.isdisjoint(video))
    )
