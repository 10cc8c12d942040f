"""What a process remembers of batches, because later answers do not repeat it.

A submission to Anthropic names the models of its requests, and results that failed name none. A
poll names the files with the results, and these do not say which batch they belong to.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from ..formats.batches.reader import BatchReader, ResultsReader
from ..formats.batches.rows import Batch
from ..formats.reader import Reader
from .endpoints import Target

#: Files, and batches, that a process remembers.
_MOST = 1000
_FILE = re.compile(r"/files/([^/:]+)(?:/content|:download)/?$")

#: Who made it, and its id there.
_Key = tuple[str, str]
_files: OrderedDict[_Key, Batch] = OrderedDict()
_models: OrderedDict[_Key, Sequence[str]] = OrderedDict()
_lock = threading.Lock()
_T = TypeVar("_T")


def is_of_interest(endpoint: Target, path: str, reader: Reader) -> bool:
    """Return whether an answer is to be read: it is not a file, or one with results of a batch."""
    if not isinstance(reader, ResultsReader) or (file := _FILE.search(path)) is None:
        return True
    with _lock:
        reader.batch = _files.get((endpoint.known_as, file[1]))
    return reader.batch is not None


def join(endpoint: Target, reader: Reader) -> None:
    """Remember what the answer says of a batch, and add what earlier ones said."""
    if not isinstance(reader, (BatchReader, ResultsReader)) or reader.batch is None:
        return
    key = endpoint.known_as, reader.batch.id
    with _lock:
        if reader.requested:
            _put(_models, key, reader.requested)
        else:
            reader.requested = _models.get(key, ())
        for file in reader.files:
            _put(_files, (endpoint.known_as, file), reader.batch)


def forget() -> None:
    """Forget everything."""
    with _lock:
        _files.clear()
        _models.clear()


def _put(memory: OrderedDict[_Key, _T], key: _Key, value: _T) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _MOST:
        memory.popitem(last=False)
