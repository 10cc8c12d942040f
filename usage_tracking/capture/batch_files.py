"""Which batch a file with results belongs to: a poll says it, and the file does not."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

from ..formats.batches import Batch, BatchReader, ResultsReader
from ..formats.reader import Reader
from .endpoints import Target

#: Files that a process remembers.
_MAX_FILES = 1000
_FILE = re.compile(r"/files/([^/:]+)(?:/content|:download)/?$")

_files: OrderedDict[tuple[str, str], Batch] = OrderedDict()
_lock = threading.Lock()


def remember(endpoint: Target, reader: Reader) -> None:
    """Remember the files that the answer to a poll names."""
    if not isinstance(reader, BatchReader) or reader.batch is None:
        return
    with _lock:
        for file in reader.files:
            _files[endpoint.known_as, file] = reader.batch
            _files.move_to_end((endpoint.known_as, file))
        while len(_files) > _MAX_FILES:
            _files.popitem(last=False)


def is_of_interest(endpoint: Target, path: str, reader: Reader) -> bool:
    """Return whether an answer is to be read: it is no file, or one with results of a batch."""
    if not isinstance(reader, ResultsReader) or (file := _FILE.search(path)) is None:
        return True
    with _lock:
        reader.batch = _files.get((endpoint.known_as, file[1]))
    return reader.batch is not None


def forget() -> None:
    """Forget all files."""
    with _lock:
        _files.clear()
