"""Masked language modelling with dynamic masking, registered as ``distil_masked_lm``."""

import os
from dataclasses import replace
from functools import partial
from typing import Any, Dict, List, Optional

import numpy as np
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from fairseq.tasks.masked_lm import MaskedLMTask
from torch import Tensor

from fairseq_distil.criterions import DistillationCriterion
from fairseq_distil.data.binarized_check import (
    MOST_IDS_AT_START,
    combined_splits,
    require_ids_in_vocabulary,
    require_whole_split,
)
from fairseq_distil.data.dictionary_check import load_shared_dictionary
from fairseq_distil.data.mask_thinning import LOWEST_RATES, thinned
from fairseq_distil.data.masked_lm_dataset import MaskedLMDataset
from fairseq_distil.data.masking import MaskingScheme, smoothed_weights
from fairseq_distil.data.sentences import unmasked_sentences
from fairseq_distil.data.token_blocks import load_token_blocks
from fairseq_distil.data.tokenizers import load_tokenizer
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel

from .distil_masked_lm_config import DistilMaskedLMConfig, mask_prob_schedule, require_valid
from .project_task import ProjectTask
from .stored_criterion import StoredCriterion


@register_task("distil_masked_lm", dataclass=DistilMaskedLMConfig)
class DistilMaskedLMTask(ProjectTask, MaskedLMTask):
    """Blocks of text with masks drawn anew each epoch, for the whole batch at once; no next-sentence prediction."""

    stored_criterion: Optional[StoredCriterion] = None
    """of the checkpoint that the task was loaded with; None in training"""
    TOO_LONG = (
        "samples are longer than {max_positions} tokens, as lines are that are not cut; add --shorten-method truncate "
        "(task.shorten_method), or --skip-invalid-size-inputs-valid-test to leave them out"
    )

    def __init__(self, cfg: DistilMaskedLMConfig, dictionary: Dictionary) -> None:
        require_valid(cfg)
        self.data_vocabulary_size = len(dictionary)  # as yet without the mask
        super().__init__(cfg, dictionary)
        self.mask_prob_schedule = mask_prob_schedule(cfg)
        self._model: Optional[BaseFairseqModel] = None
        self.state.merge_state_dict({"dictionary_symbols": list(dictionary.symbols)})

    @classmethod
    def load_dict(cls, cfg: DistilMaskedLMConfig) -> Dictionary:
        """Read ``dict.txt`` of the first data directory, and see that the others have none that differs.

        Raises:
            UserError: a directory is missing, or a ``dict.txt`` is, or is not a fairseq dictionary or another one
        """
        return load_shared_dictionary(utils.split_paths(cfg.data))

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **_: Any) -> None:
        """Load a split; training data in several directories come one an epoch, in turn.

        Raises:
            UserError: the data are missing, damaged, or of another dictionary
        """
        paths = utils.split_paths(self.cfg.data)
        path = os.path.join(paths[(epoch - 1) % len(paths)], split)
        for part in combined_splits(path) if combine else (path,):
            require_whole_split(part, self.data_vocabulary_size, MOST_IDS_AT_START)
        blocks = load_token_blocks(path, split, self.cfg, self.dictionary, combine)
        scheme, schedule = self._masking_scheme(), self.mask_prob_schedule
        is_to_be_thinned = schedule is not None and split == self.cfg.train_subset
        if is_to_be_thinned:
            scheme = replace(scheme, mask_prob=max(schedule.first, schedule.last, scheme.mask_prob))
        require_valid_ids = partial(require_ids_in_vocabulary, path, self.data_vocabulary_size)
        self.datasets[split] = MaskedLMDataset(
            blocks, scheme, self.cfg.seed, require_valid_ids, is_to_be_thinned, self.cfg.repeat_masks_after
        )

    def masked_for(self, sample: Dict[str, Any], update: Optional[int]) -> Dict[str, Any]:
        """A batch with the masks that ``mask_prob_schedule`` gives it; in validation, of ``mask_prob``."""
        if LOWEST_RATES not in sample:
            return sample
        rate = self.cfg.mask_prob if update is None else self.mask_prob_schedule(update)
        return thinned(sample, rate, self.dictionary.pad())

    def build_dataset_for_inference(
        self, src_tokens: List[Tensor], src_lengths: List[int], sort: bool = True
    ) -> FairseqDataset:
        """Sentences as they are, without masks; see :func:`~fairseq_distil.data.sentences.unmasked_sentences`."""
        return unmasked_sentences(src_tokens, src_lengths, self.dictionary, sort)

    def _masking_scheme(self) -> MaskingScheme:
        maskable = np.ones(len(self.dictionary), dtype=bool)
        maskable[: self.dictionary.nspecial] = False
        maskable[self.mask_idx] = False
        smoothing = self.cfg.mask_frequency_smoothing
        return MaskingScheme(
            seed=self.cfg.seed,
            mask_prob=self.cfg.mask_prob,
            leave_unmasked_prob=self.cfg.leave_unmasked_prob,
            random_token_prob=self.cfg.random_token_prob,
            mask_index=self.mask_idx,
            padding_index=self.dictionary.pad(),
            maskable=maskable,
            weights=smoothed_weights(np.array(self.dictionary.count), smoothing) if smoothing else None,
            begins_word=self._begins_word() if self.cfg.mask_whole_words else None,
        )

    def _begins_word(self) -> np.ndarray:
        tokenizer = load_tokenizer(utils.split_paths(self.cfg.data)[0])
        return np.array([tokenizer.begins_word(symbol) for symbol in self.dictionary.symbols])

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the model.

        Raises:
            UserError: samples are longer than the model's positions
        """
        model = self._model = super().build_model(cfg, from_checkpoint)
        if isinstance(model, DistilEncoderModel) and self.cfg.tokens_per_sample > model.max_positions():
            raise UserError(
                f"--tokens-per-sample (task.tokens_per_sample) is {self.cfg.tokens_per_sample}, but the model has "
                f"{model.max_positions()} positions; lower it, or build the model with more --max-positions"
            )
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> FairseqCriterion:
        """Build the criterion, which fairseq does after the model, and check that the two fit.

        Found in the first batch, a misfit would end a run with data workers at work.

        Raises:
            UserError: the model lacks what the criterion needs, or the checkpoint does; in training, an option is for
                nothing
        """
        criterion = super().build_criterion(cfg, from_checkpoint)
        if isinstance(criterion, DistillationCriterion):
            if self._model is not None:
                criterion.fit_to(self._model)
            if self.stored_criterion is None:
                criterion.require_options_of_use()  # those of a checkpoint can be overridden, but not left out
            elif criterion.width_projection is not None:
                self.stored_criterion.restore(criterion, next(self._model.parameters()))
        elif getattr(self._model, "soft_target_cache", None) is not None:
            raise UserError(
                f"--teacher-cache (model.teacher_cache) keeps soft targets, but criterion {cfg._name} has no teacher; "
                "leave it out, or take --criterion distillation"
            )
        elif self.cfg.mask_prob == 0:
            raise UserError(f"task.mask_prob is 0, which leaves criterion {cfg._name} nothing to predict; raise it")
        return criterion
