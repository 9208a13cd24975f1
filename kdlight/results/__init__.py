"""What studies found: their records, and the page that is written from them."""

from kdlight.results.page import write
from kdlight.results.records import Record, RecordError, collect, keep, read

__all__ = ["Record", "RecordError", "collect", "keep", "read", "write"]
