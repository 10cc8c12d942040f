"""What a process remembers of batches, because later answers do not repeat it.

A submission to Anthropic names the models of its requests, and results that failed name none. A
poll names the files with the results, and these do not say which batch they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
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
# Without a lock, which a fork would copy while another thread holds it. Each change of a dict is
# atomic, and what is lost in a race is at most the oldest entry.
_files: dict[_Key, Batch] = {}
_models: dict[_Key, Sequence[str]] = {}
_T = TypeVar("_T")


def is_of_interest(endpoint: Target, path: str, reader: Reader) -> bool:
    """Return whether an answer is to be read: it is not a file, or one with results of a batch."""
    if not isinstance(reader, ResultsReader) or (file := _FILE.search(path)) is None:
        return True
    reader.batch = _files.get((endpoint.known_as, file[1]))
    return reader.batch is not None


def join(endpoint: Target, reader: Reader) -> None:
    """Remember what the answer says of a batch, and add what earlier ones said."""
    if not isinstance(reader, (BatchReader, ResultsReader)) or reader.batch is None:
        return
    key = endpoint.known_as, reader.batch.id
    if reader.requested:
        _put(_models, key, reader.requested)
    else:
        reader.requested = _models.get(key, ())
    for file in reader.files:
        _put(_files, (endpoint.known_as, file), reader.batch)


def forget() -> None:
    """Forget everything."""
    _files.clear()
    _models.clear()


def _put(memory: dict[_Key, _T], key: _Key, value: _T) -> None:
    memory.pop(key, None)  # the newest is the last
    memory[key] = value
    if len(memory) > _MOST:
        with suppress(RuntimeError):  # another thread has changed it meanwhile
            memory.pop(next(iter(memory)), None)
