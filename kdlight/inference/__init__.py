"""A bundle at work: one image in, a Reading with two opinions out; and thousands of files, line by line."""

from kdlight.inference.batch import read_files
from kdlight.inference.eligibility import IneligibleError, eligibility
from kdlight.inference.journal import Journal, JournalError
from kdlight.inference.listing import Listing, listing
from kdlight.inference.predictor import Predictor

__all__ = [
    "IneligibleError",
    "Journal",
    "JournalError",
    "Listing",
    "Predictor",
    "eligibility",
    "listing",
    "read_files",
]
