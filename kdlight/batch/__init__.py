"""Thousands of files through a bundle: decoded, prepared and answered side by side, each result kept as it comes."""

from kdlight.batch.benchmark import throughput
from kdlight.batch.journal import Journal, JournalError
from kdlight.batch.reader import read_all
from kdlight.batch.scans import Listing, listed, listing

__all__ = ["Journal", "JournalError", "Listing", "listed", "listing", "read_all", "throughput"]
