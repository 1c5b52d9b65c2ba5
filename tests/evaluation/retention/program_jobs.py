"""Jobs whose commands are small programs."""

import sys
from dataclasses import dataclass

from fairseq_distil.evaluation.retention.jobs import Job


@dataclass(frozen=True)
class ProgramJob(Job):
    """A job whose command is a Python program that finds the job's folder in its arguments, and its teacher."""

    program: str = "pass"

    def command(self) -> list[str]:
        teacher = [] if self.teacher is None else [str(self.teacher.best_checkpoint)]
        return [sys.executable, "-c", self.program, str(self.folder), *teacher]
