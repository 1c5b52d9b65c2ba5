"""Runs that go on with other workers, batch sizes or update frequencies than before."""

from functools import partial
from typing import Any, Optional

from fairseq.data import FairseqDataset

from fairseq_distil.data.elastic_batches import ElasticBatchIterator


class ElasticResume:
    """Comes before a fairseq task among the bases of a class whose ``cfg`` has ``update_freq``."""

    def get_batch_iterator(
        self,
        dataset: FairseqDataset,
        max_tokens: Optional[int] = None,
        max_sentences: Optional[int] = None,
        max_positions: Optional[Any] = None,
        ignore_invalid_inputs: bool = False,
        required_batch_size_multiple: int = 1,
        **settings: Any,
    ) -> ElasticBatchIterator:
        """See :meth:`fairseq.tasks.FairseqTask.get_batch_iterator`."""
        limits = {
            "max_tokens": max_tokens,
            "max_sentences": max_sentences,
            "required_batch_size_multiple": required_batch_size_multiple,
        }
        iterator = super().get_batch_iterator(
            dataset,
            max_positions=max_positions,
            ignore_invalid_inputs=ignore_invalid_inputs,
            **limits,
            **settings,
        )
        if not isinstance(iterator, ElasticBatchIterator):  # those that fairseq has kept are
            # Of the project's data sets: others would leave out the last samples, where they make no multiple.
            iterator = ElasticBatchIterator(iterator, partial(dataset.batch_by_size, **limits), self.cfg.update_freq)
            if dataset in self.dataset_to_epoch_iter:
                self.dataset_to_epoch_iter[dataset] = iterator
        return iterator
