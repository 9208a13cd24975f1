"""A run is a folder: recipe.toml, status.json, log.jsonl, output.log, checkpoints and at its end bundle/.

The folder is the only truth. Whoever draws a run reads it; a run outlives the page, the server and the shell that
started it, and a run that was killed says so the next time it is read.
"""

from kdlight.runs.control import STOPPED, create, default_root, delete, list_runs, resume, size, start, stop
from kdlight.runs.folder import START, Run, RunError
from kdlight.runs.records import LIVE, EpochRecord, Phase, RunStatus, State

__all__ = ["LIVE", "START", "STOPPED", "EpochRecord", "Phase", "Run", "RunError", "RunStatus", "State"]
__all__ += ["create", "default_root", "delete", "list_runs", "resume", "size", "start", "stop"]
