"""The one room that writes files, whole or not at all, locks them, and reads those that others may have changed."""

from kdlight.storage.arrays import ArrayCache, cache_folder, load_arrays, save_arrays, write_arrays
from kdlight.storage.files import CONFINED, append, copy_folder, replacing, replacing_folder, reserve, write, write_json
from kdlight.storage.lock import is_locked, locked
from kdlight.storage.records import UnreadableError, first_problem, read, read_json, read_model

__all__ = ["CONFINED", "ArrayCache", "UnreadableError", "append", "cache_folder", "copy_folder", "first_problem"]
__all__ += ["is_locked", "load_arrays", "locked", "read", "read_json", "read_model", "replacing", "replacing_folder"]
__all__ += ["reserve", "save_arrays", "write", "write_arrays", "write_json"]
