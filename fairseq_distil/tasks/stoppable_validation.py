"""Validation that a scheduler's SIGTERM need not wait for, and that repeats a batch without the other workers."""

from typing import Any

from fairseq_distil.errors import UserError
from fairseq_distil.training.stop_request import stop_if_requested


class StoppableValidation:
    """Comes before a fairseq task among the bases of a class."""

    _is_repeated = False
    """fairseq tries a batch again for which memory ran out, on this worker alone: the others would not be asked."""

    def valid_step(self, *arguments: Any, **keywords: Any) -> Any:
        """See :meth:`fairseq.tasks.FairseqTask.valid_step`.

        Raises:
            StopRequested: SIGTERM came to any worker
            UserError: memory ran out again
        """
        is_repeated, self._is_repeated = self._is_repeated, True
        if not is_repeated:
            stop_if_requested()
        try:
            result = super().valid_step(*arguments, **keywords)
        except RuntimeError as error:
            if is_repeated and "out of memory" in str(error):
                raise UserError(
                    "memory ran out twice for a batch of validation: lower --batch-size-valid "
                    "(dataset.batch_size_valid); started again, the run goes on from its last checkpoint"
                ) from error
            raise
        self._is_repeated = False
        return result
