"""Weights of terms and the temperature, which schedules change over the updates."""

import math
from functools import partial
from typing import Collection, Dict

from fairseq.models import BaseFairseqModel

from fairseq_distil.errors import UserError
from fairseq_distil.schedule import parse_schedules

from .distillation_config import DistillationConfig
from .requirements import require_schedules_of_use
from .settings import require_temperature, require_weight
from .terms import Term
from .terms.soft_target import SoftTargetTerm

TEMPERATURE = "soft_target_temperature"


class ScheduledSettings:
    """The settings of an objective that may change, at their values after the updates made.

    Args:
        cfg: of the criterion
        terms: all that there are; those whose weight has a schedule are active from now on

    Raises:
        UserError: the schedules are none, of no use, or end all weights at 0
    """

    def __init__(self, cfg: DistillationConfig, terms: Collection[Term]) -> None:
        checks = {term.weight_name: partial(require_weight, term.weight_name) for term in terms}
        checks[TEMPERATURE] = require_temperature
        self._schedules = parse_schedules("criterion.schedules", cfg.schedules, checks)
        require_schedules_of_use(cfg, self._schedules)
        for term in terms:
            term.is_active = term.is_active or term.weight_name in self._schedules
        self._terms = [term for term in terms if term.is_active]
        self.temperature: float = cfg.soft_target_temperature
        if TEMPERATURE in self._schedules and not any(isinstance(term, SoftTargetTerm) for term in self._terms):
            raise UserError(
                f"criterion.schedules changes {TEMPERATURE}, but criterion.soft_target_weight is 0; raise it, or leave "
                "the schedule out"
            )
        if self._terms and all(self._has_faded(term, math.inf) for term in self._terms):
            raise UserError(
                "criterion.schedules let the weights of all terms end at 0, after which there is nothing to learn; let "
                "one end above it, or train for fewer updates"
            )

    @property
    def changes_temperature(self) -> bool:
        """Whether soft targets are of more than one temperature."""
        return TEMPERATURE in self._schedules and not self._schedules[TEMPERATURE].is_constant

    def follow(self, model: BaseFairseqModel) -> Dict[str, float]:
        """Set what changes to its value after the updates made, and return these for the log.

        In validation nothing changes: losses of one objective alone can be compared, to choose the best checkpoint or
        to stop early, and it is that of the last values.
        """
        update = getattr(model, "num_updates", 0) if model.training else math.inf
        values = {name: schedule(update) for name, schedule in self._schedules.items()}
        for term in self._terms:
            term.weight = values.get(term.weight_name, term.weight)
            term.has_faded = model.training and self._has_faded(term, update)
        self.temperature = values.get(TEMPERATURE, self.temperature)
        return values if model.training else {}

    def _has_faded(self, term: Term, update: float) -> bool:
        schedule = self._schedules.get(term.weight_name)
        return schedule is not None and schedule.has_faded(update)
