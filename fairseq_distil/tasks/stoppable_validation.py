"""Validation that a scheduler's SIGTERM need not wait for."""

from typing import Any

from fairseq_distil.training.stop_request import stop_if_requested


class StoppableValidation:
    """Comes before a fairseq task among the bases of a class."""

    def valid_step(self, *arguments: Any, **keywords: Any) -> Any:
        """See :meth:`fairseq.tasks.FairseqTask.valid_step`.

        Raises:
            StopRequested: SIGTERM came to any worker
        """
        stop_if_requested()
        return super().valid_step(*arguments, **keywords)
