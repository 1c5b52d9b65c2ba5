"""Named sizes for ``--arch``. Whatever is given explicitly wins."""

from argparse import Namespace
from typing import Callable

from fairseq.models import register_model_architecture

from . import distil_encoder, teacher_student  # noqa: F401  registered before they get architectures

SIZES = {  # layers of the teacher, width, attention heads (Turc et al., 2019; base: Devlin et al., 2019)
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
}


def _architecture(layers: int, width: int, attention_heads: int) -> Callable[[Namespace], None]:
    sizes = {
        "encoder_layers": layers,
        "encoder_embed_dim": width,
        "encoder_attention_heads": attention_heads,
    }

    def fill_in_sizes(cfg: Namespace) -> None:
        for name, size in sizes.items():
            if getattr(cfg, name, None) is None:
                setattr(cfg, name, size)

    return fill_in_sizes


for _name, (_layers, _width, _attention_heads) in SIZES.items():
    register_model_architecture("distil_encoder", f"distil_encoder_{_name}")(
        _architecture(_layers, _width, _attention_heads)
    )
    register_model_architecture("teacher_student", f"teacher_student_{_name}")(
        _architecture(_layers // 2, _width, _attention_heads)
    )
register_model_architecture("teacher_student", "distilbert_base")(_architecture(6, 768, 12))
