"""Checkpoints of finished runs: kept as long as another run learns from them, and made again where they are gone."""

from collections.abc import Sequence

from .jobs import Job


def make_lost_teachers_again(jobs: Sequence[Job]) -> list[Job]:
    """Begin again with teachers without a checkpoint, and with those that have begun to learn from it.

    Returns:
        the teachers, whose scores may come to differ where their runs are not exactly repeatable
    """
    lost = []
    unfinished = [job for job in jobs if job.teacher is not None and job.result() is None]
    for teacher in {job.teacher for job in unfinished}:
        if teacher.result() is not None and not teacher.best_checkpoint.exists():
            for job in (*(job for job in unfinished if job.teacher == teacher), teacher):
                job.begin_again()
            lost.append(teacher)
    return lost


def remove_unneeded_checkpoints(jobs: Sequence[Job]) -> None:
    """Remove those of finished jobs that no unfinished one learns from."""
    teachers = {job.teacher for job in jobs if job.result() is None}
    for job in jobs:
        if job.result() is not None and job not in teachers:
            job.remove_checkpoints()
