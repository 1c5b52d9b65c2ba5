"""torch's fused AdamW with BERT's groups of weight decay, registered as ``fused_adamw``."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch.nn import Parameter

from fairseq_distil.errors import UserError


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Defaults are DistilBERT's."""

    adamw_beta1: float = field(default=0.9, metadata={"help": "decay of the running mean of gradients"})
    adamw_beta2: float = field(default=0.98, metadata={"help": "decay of the running mean of squared gradients"})
    adamw_eps: float = field(default=1e-6, metadata={"help": "added to the root of the mean square"})
    adamw_weight_decay: float = field(
        default=0.0, metadata={"help": "decoupled weight decay of matrices; biases and LayerNorms have none"}
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """AdamW (Loshchilov and Hutter, 2019) with one kernel for all parameters, on GPUs and CPUs alike.

    Vectors, which are biases and LayerNorm parameters, are left out of weight decay.

    Raises:
        UserError: a setting is out of range
    """

    supports_flat_params = False  # a flat parameter has lost the difference of matrices and vectors

    def __init__(self, cfg: FusedAdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        _require_valid(cfg)
        parameters = list(params)
        matrices = [parameter for parameter in parameters if parameter.ndim > 1]
        vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": cfg.adamw_weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], fused=True, **self.optimizer_config
        )

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        """What all groups have in common."""
        return {
            "lr": self.cfg.lr[0],
            "betas": (self.cfg.adamw_beta1, self.cfg.adamw_beta2),
            "eps": self.cfg.adamw_eps,
        }

    def load_state_dict(self, state_dict: Dict[str, Any], optimizer_overrides: Optional[Dict[str, Any]] = None) -> None:
        """Take over a checkpoint's state; ``weight_decay`` among the overrides is for the matrices alone.

        Raises:
            UserError: the state is not that of these parameters
        """
        overrides = dict(optimizer_overrides or {})
        weight_decay = overrides.pop("weight_decay", None)
        super().load_state_dict(state_dict, overrides)
        for group in self.param_groups:
            group["fused"] = True  # which is of the program, whatever a checkpoint leaves out
            if weight_decay is not None:
                is_of_matrices = any(parameter.ndim > 1 for parameter in group["params"])
                group["weight_decay"] = weight_decay if is_of_matrices else 0.0


def _require_valid(cfg: FusedAdamWConfig) -> None:
    for name in ("adamw_beta1", "adamw_beta2"):
        if not 0 <= getattr(cfg, name) < 1:
            raise UserError(f"optimizer.{name} is {getattr(cfg, name)}, but must be in [0, 1)")
    for name in ("adamw_eps", "adamw_weight_decay"):
        if not 0 <= getattr(cfg, name) < math.inf:
            raise UserError(f"optimizer.{name} is {getattr(cfg, name)}, but must be a number, 0 or more")
