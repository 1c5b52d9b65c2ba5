"""What the log tells of a term once it is computed no longer."""

import math

import torch
from fairseq.logging import metrics

from fairseq_distil.criterions.objective_log import log_means


def test_what_is_no_longer_computed_has_no_value() -> None:
    """Nor has what is derived of it: a perplexity of 0 would be that of a perfect model."""
    rest = {"sample_size": 5, "loss": torch.tensor(3.0), "masked_tokens": 2}
    masked_lm = {"mlm_loss": torch.tensor(6 * math.log(2)), "mlm_correct": torch.tensor(1.0)}
    with metrics.aggregate(new_root=True) as aggregator:
        log_means([rest | masked_lm])
        values = aggregator.get_smoothed_values()
        assert (values["mlm_loss"], values["mlm_ppl"]) == (3.0, 8.0)  # 6 bits over 2 masked tokens
        aggregator.reset()  # as after each line of the log
        log_means([rest])
        values = aggregator.get_smoothed_values()
    assert values["loss"] == round(3 / 5 / math.log(2), 3)
    assert (values["mlm_loss"], values["mlm_ppl"]) == (None, None)
