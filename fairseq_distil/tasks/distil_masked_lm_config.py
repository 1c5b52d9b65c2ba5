"""Settings of the task ``distil_masked_lm``."""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks.language_modeling import SAMPLE_BREAK_MODE_CHOICES, SHORTEN_METHOD_CHOICES
from omegaconf import II, MISSING

from fairseq_distil.errors import UserError
from fairseq_distil.schedule import Schedule, parse_schedule


@dataclass
class DistilMaskedLMConfig(FairseqDataclass):
    data: str = field(
        default=MISSING,
        metadata={"help": "binarised data: a directory, or several separated by colons, one an epoch in turn"},
    )
    sample_break_mode: SAMPLE_BREAK_MODE_CHOICES = field(
        default="none",
        metadata={
            "help": "how text is cut into samples: none (full blocks), complete (whole lines), complete_doc (whole "
            "lines of one document), eos (one line)"
        },
    )
    tokens_per_sample: int = field(default=512, metadata={"help": "tokens of a sample at most, specials included"})
    mask_prob: float = field(
        default=0.15,
        metadata={"help": "fraction of the tokens that is selected for prediction; 0 serves the cosine term alone"},
    )
    mask_prob_schedule: Optional[str] = field(
        default=None,
        metadata={
            "help": "mask_prob of training over the updates: SHAPE:FIRST:LAST:UPDATES with the shape linear or cosine, "
            "such as linear:0.3:0.15:10000, or constant:VALUE; validation has mask_prob"
        },
    )
    leave_unmasked_prob: float = field(
        default=0.1, metadata={"help": "probability that a selected token stays as it is"}
    )
    random_token_prob: float = field(
        default=0.1, metadata={"help": "probability that a selected token is replaced by a random one"}
    )
    repeat_masks_after: Optional[int] = field(
        default=None,
        metadata={"help": "epochs after which the masks of training repeat (default: new ones in each epoch)"},
    )
    mask_whole_words: bool = field(default=False, metadata={"help": "select whole words instead of single tokens"})
    mask_frequency_smoothing: float = field(
        default=0.0,
        metadata={"help": "odds of selecting a token are its count to minus this power; 0: equal; DistilBERT: 0.7"},
    )
    shorten_method: SHORTEN_METHOD_CHOICES = field(
        default="none", metadata={"help": "shorten lines that are longer than a sample"}
    )
    shorten_data_split_list: str = field(
        default="", metadata={"help": "splits to shorten, separated by commas (default: all)"}
    )
    autocast_dtype: ChoiceEnum(["none", "bfloat16", "float16"]) = field(
        default="none",
        metadata={
            "help": "type of matrix products; weights stay float32. bfloat16 is float32 on a CPU without its "
            "instructions; float16 needs --amp, which scales the loss"
        },
    )
    # fairseq would keep the data workers of the first epoch, and with them its masks. No option: it has no help.
    reuse_dataloader: bool = False
    update_freq: List[int] = II("optimization.update_freq")
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    amp: bool = II("common.amp")


def require_valid(cfg: DistilMaskedLMConfig) -> None:
    """Check what the types of the settings do not say.

    Raises:
        UserError: a setting is out of its range, or two do not go together
    """
    for name in ("mask_prob", "leave_unmasked_prob", "random_token_prob"):
        if not 0 <= cfg[name] <= 1:
            raise UserError(f"task.{name} is {cfg[name]}, but must be a probability in [0, 1]")
    if cfg.leave_unmasked_prob + cfg.random_token_prob > 1:
        raise UserError(
            f"task.leave_unmasked_prob and task.random_token_prob add up to "
            f"{cfg.leave_unmasked_prob + cfg.random_token_prob}, but are parts of one whole: at most 1"
        )
    if cfg.repeat_masks_after is not None and cfg.repeat_masks_after < 1:
        raise UserError(f"task.repeat_masks_after is {cfg.repeat_masks_after}, but masks repeat after 1 epoch at least")
    if cfg.mask_frequency_smoothing < 0:
        raise UserError(f"task.mask_frequency_smoothing is {cfg.mask_frequency_smoothing}, but must not be negative")
    for name in ("mask_prob_schedule", "repeat_masks_after", "mask_whole_words", "mask_frequency_smoothing"):
        if cfg.mask_prob == 0 and cfg[name]:
            raise UserError(
                f"task.{name} is {cfg[name]}, but task.mask_prob is 0, so that there are no masks; raise it, or leave "
                f"{name} out"
            )
    if cfg.tokens_per_sample < 3:
        raise UserError(f"task.tokens_per_sample is {cfg.tokens_per_sample}, but a sample needs at least 3 tokens")
    if str(cfg.autocast_dtype) == "float16" and not cfg.amp:
        raise UserError("task.autocast_dtype float16 needs loss scaling: add --amp (common.amp), or use bfloat16")


def mask_prob_schedule(cfg: DistilMaskedLMConfig) -> Optional[Schedule]:
    """The schedule of ``mask_prob``, if it has one.

    Raises:
        UserError: it is no schedule, or goes through what is no rate of masks
    """
    option = "task.mask_prob_schedule"
    return parse_schedule(option, cfg.mask_prob_schedule, _require_rate) if cfg.mask_prob_schedule else None


def _require_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise UserError(f"it goes to {rate}, but masks need a probability above 0 and at most 1")
