"""A batch with fewer masks than it was made with.

The rate of masks may change from update to update, but batches are made ahead, by processes that do not know which
update will have them: another number of workers, a skipped update or a resumed run would make it another one. So they
are masked at the highest rate of all, and lose what is beyond its rate in the update itself.
"""

from typing import Any

import torch

LOWEST_RATES = "lowest_rates"
"""Key of the rate from which on each masked token is masked, a numpy array, which stays with the processor."""


def thinned(sample: dict[str, Any], rate: float, padding_index: int) -> dict[str, Any]:
    """The batch as if it had been masked at a lower rate, with the rate as ``mask_prob``; ``sample`` stays as it is.

    The device is not waited for.

    Args:
        sample: a batch of :class:`~fairseq_distil.data.masked_lm_dataset.MaskedLMDataset` with ``LOWEST_RATES``
        rate: at most that of ``sample``
        padding_index: id of the padding symbol, the target of what is not masked
    """
    is_kept = sample[LOWEST_RATES] <= rate
    masked, unmasked = sample["positions"]["masked"], sample["positions"]["unmasked"]
    kept, dropped = (masked[torch.from_numpy(which.nonzero()[0]).to(masked.device)] for which in (is_kept, ~is_kept))
    inputs, targets = sample["net_input"]["src_tokens"].clone(), sample["target"].clone()
    inputs.view(-1).index_copy_(0, dropped, targets.view(-1)[dropped])
    targets.view(-1).index_fill_(0, dropped, padding_index)
    rest = {name: value for name, value in sample.items() if name != LOWEST_RATES}
    return rest | {
        "net_input": sample["net_input"] | {"src_tokens": inputs},
        "target": targets,
        "positions": {"masked": kept, "unmasked": torch.cat([unmasked, dropped]).sort().values},
        "mask_prob": rate,
    }
