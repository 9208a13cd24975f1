"""Thousands of files through a bundle: decoded, prepared and answered side by side, each result kept as it comes."""

from kdlight.batch.benchmark import throughput
from kdlight.batch.journal import Journal, JournalError
from kdlight.batch.reader import listed, read_all

__all__ = ["Journal", "JournalError", "listed", "read_all", "throughput"]
