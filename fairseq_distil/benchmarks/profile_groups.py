"""What kind of work an operation of torch's profiler is."""

from collections.abc import Sequence

PRODUCTS = "matrix products"
ATTENTION = "attention"
LOSSES = "softmax and losses"
LAYER_NORM = "LayerNorm"
ACTIVATION = "activation"
DROPOUT = "dropout"
EMBEDDINGS = "embeddings"
OPTIMIZER = "optimizer"
CLIPPING = "gradient scaling and clipping"
BATCH = "collation and masking"
COMPILED = "compiled kernels"
OTHER = "other"
GROUPS = (
    PRODUCTS,
    ATTENTION,
    LOSSES,
    LAYER_NORM,
    ACTIVATION,
    DROPOUT,
    EMBEDDINGS,
    OPTIMIZER,
    CLIPPING,
    BATCH,
    COMPILED,
    OTHER,
)

MODULE_PREFIX = "module "
"""Ranges of the profiler named so are calls of modules, by their class."""

WHOLE_STAGES = {"stage optimizer": OPTIMIZER, "stage clipping": CLIPPING, "stage batch": BATCH}
LINEAR_OPERATIONS = ("aten::addmm", "aten::addmm_", "aten::mm", "aten::linear", "mkldnn::_linear_pointwise")
BATCHED_PRODUCTS = ("aten::bmm", "aten::baddbmm", "aten::matmul")
BY_PART_OF_NAME = {
    "layer_norm": LAYER_NORM,
    "gelu": ACTIVATION,
    "silu": ACTIVATION,
    "relu": ACTIVATION,
    "threshold_backward": ACTIVATION,
    "dropout": DROPOUT,
    "bernoulli": DROPOUT,
    "embedding": EMBEDDINGS,
    "softmax": LOSSES,
    "kl_div": LOSSES,
    "nll_loss": LOSSES,
    "cosine_similarity": LOSSES,
    "Compiled": COMPILED,
    "triton": COMPILED,
}


def group_of(name: str, scopes: Sequence[str]) -> str:
    """The group of an operation.

    Args:
        name: of the operation, such as ``aten::addmm``
        scopes: names of the ranges around it, from the inside out; for an operation of the backward, those of the
            operation of the forward that it belongs to
    """
    for scope in scopes:
        if scope in WHOLE_STAGES:
            return WHOLE_STAGES[scope]
    in_attention = any(_is_module(scope, "Attention") for scope in scopes)
    if name in LINEAR_OPERATIONS or (name in BATCHED_PRODUCTS and not in_attention):
        return PRODUCTS
    for part, group in BY_PART_OF_NAME.items():
        if part in name:
            return ATTENTION if in_attention and group in (LOSSES, DROPOUT) else group
    if any(_is_module(scope, "Dropout") for scope in scopes):
        return DROPOUT
    if in_attention:
        return ATTENTION
    nearest_stage = next((scope for scope in scopes if scope.startswith("stage ")), "")
    return LOSSES if nearest_stage == "stage loss" else OTHER


def _is_module(scope: str, kind: str) -> bool:
    return scope.startswith(MODULE_PREFIX) and kind in scope
