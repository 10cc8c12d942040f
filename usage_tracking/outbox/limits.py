"""The limits of the outbox."""

#: Bytes that may wait on disk, for all processes of the site.
CAPACITY = 64 * 1024 * 1024
#: Events that wait in the memory of a process.
MEMORY_CAPACITY = 10_000
#: Bytes after which a process starts a new segment, so that delivery frees room piece by piece.
SEGMENT = 4 * 1024 * 1024
#: Maximum number of waiting segments, each an open file, beside the current one.
ADOPTED = 16
#: Number of amended events whose latest revision is remembered.
REVISIONS = 10_000
#: Bytes that may be written before the size of the directory is checked again.
UNCHECKED = 1024 * 1024
#: Seconds after which this process retries the events that it set aside.
SET_ASIDE_FOR = 45.0
