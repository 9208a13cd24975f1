"""Studies: with and without the teacher over several seeds, their records, and what they prove.

Importing this is light; what trains is in `kdlight.studies.run` and `kdlight.studies.grid`.
"""

from kdlight.bundle.study_record import StudyRecord
from kdlight.studies.records import RecordError, collect, read

__all__ = ["RecordError", "StudyRecord", "collect", "read"]
