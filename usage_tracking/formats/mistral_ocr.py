"""Mistral OCR.

https://docs.mistral.ai/api/endpoint/ocr (`usage_info` counts pages)
https://mistral.ai/pricing (a page with annotations has a price of its own)
https://learn.microsoft.com/azure/ai-foundry/how-to/use-image-models (Azure may count annotated
pages only in `pages_processed_annotation`)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, count, error_text, items, mapping, text


class OCRReader(Reader):
    """Reads Mistral OCR."""

    operation = "ocr"
    usage_key = b'"usage_info"'
    beside_usage = (
        *(b'"document_annotation":"', b'"document_annotation": "'),
        *(b'"image_annotation":"', b'"image_annotation": "'),
    )

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage_info"))
        # Of an answer that is too long to be kept, the pages are not there.
        self.recognised = not _COUNTS.isdisjoint(usage)
        self.model = text(data.get("model"))
        self.error = error_text(data)
        if not self.recognised:
            return
        pages, annotated = usage.get("pages_processed"), usage.get("pages_processed_annotation")
        if annotated is None and _is_annotated(data):
            annotated = pages
        if count(annotated) and count(pages) == 0:
            pages = annotated
        counts = {"input_document_pages": pages, "input_annotated_document_pages": annotated}
        self.use(Usage.of(counts))


_COUNTS = frozenset({"pages_processed", "pages_processed_annotation"})


def _is_annotated(data: dict[str, Any]) -> bool:
    return bool(data.get("document_annotation")) or any(
        image.get("image_annotation")
        for page in items(data.get("pages"))
        for image in items(page.get("images"))
    )
