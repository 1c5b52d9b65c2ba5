"""How fairseq's half precision goes together with ``fused_adamw``."""

from omegaconf import DictConfig

from fairseq_distil.errors import UserError

MEMORY_EFFICIENT = ("memory_efficient_fp16", "memory_efficient_bf16")


def fit_half_precision(cfg: DictConfig) -> None:
    """Make ``--fp16`` keep a float32 copy of each parameter of its own, where it would make one flat vector of all.

    Matrices alone have weight decay, and of a flat vector nobody can tell what were matrices.

    Args:
        cfg: of the whole run, before fairseq makes its optimiser

    Raises:
        UserError: no float32 copies are asked for
    """
    if cfg.optimizer is None or cfg.optimizer._name != "fused_adamw":
        return
    for name in MEMORY_EFFICIENT:
        if cfg.common[name]:
            kept = name.removeprefix("memory_efficient_")
            raise UserError(
                f"--{name.replace('_', '-')} (common.{name}) keeps no float32 weights, which fused_adamw updates; give "
                f"--{kept} (common.{kept}) instead, or --optimizer adam"
            )
    if cfg.common.fp16:
        cfg.common.fp16_no_flatten_grads = True
