import pytest

from fairseq_distil.modules import EncoderConfig


def test_defaults_are_berts() -> None:
    config = EncoderConfig(vocabulary_size=30522, padding_index=1)
    assert (config.layers, config.width, config.attention_heads, config.feed_forward_width) == (12, 768, 12, 3072)
    assert (config.max_positions, config.activation, config.layer_norm_epsilon) == (512, "gelu", 1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": 0}, "layers is 0, but must be at least 1"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0"),
        ({"width": -12}, "width is -12"),
        ({"feed_forward_width": 0}, "feed_forward_width is 0"),
        ({"attention_heads": 0}, "attention_heads is 0"),
        ({"max_positions": 0}, "max_positions is 0"),
        ({"attention_heads": 5}, "5 attention heads do not divide the width 12"),
        ({"activation": "gleu"}, "activation 'gleu' is unknown; choose from gelu, gelu_tanh, relu, silu"),
        ({"dropout": 1.0}, r"dropout is 1.0, but must be a probability in \[0, 1\)"),
        ({"attention_dropout": -0.1}, "attention_dropout is -0.1"),
        ({"dropout": float("nan")}, "dropout is nan"),
    ],
)
def test_errors(wrong: dict, message: str) -> None:
    right = {"vocabulary_size": 47, "padding_index": 1, "width": 12, "attention_heads": 4}
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**right | wrong)
