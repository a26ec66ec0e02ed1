"""What waits to be run: tables of samples checked, jobs in line, and their starts."""

from labd.run.queue.jobs import Job, JobState
from labd.run.queue.queue import Queue, Submission, Submitted, UnknownJobError
from labd.run.queue.submitting import rows_of

__all__ = ["Job", "JobState", "Queue", "Submission", "Submitted", "UnknownJobError", "rows_of"]
