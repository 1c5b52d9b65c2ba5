import torch

from fairseq_distil.modules import EncoderConfig, SelfAttention

CONFIG = EncoderConfig(47, padding_index=1, width=12, attention_heads=4, attention_dropout=0.5)


def test_equal_keys_average_the_values_that_may_be_attended_to() -> None:
    attention = SelfAttention(CONFIG).eval()
    hidden = torch.randn(3, 7, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., 4:] = False
    with torch.no_grad():
        attention.query_key_value.weight[12:24] = 0  # every key is the bias: equal scores
        values = hidden @ attention.query_key_value.weight[24:].T + attention.query_key_value.bias[24:]
        averages = torch.stack([values[0].mean(0), values[1, :4].mean(0), values[2].mean(0)])
        expected = attention.output(averages)[:, None].expand(3, 7, 12)
        torch.testing.assert_close(attention(hidden, mask), expected)


def test_dropout_of_attention_probabilities_is_for_training_alone() -> None:
    attention = SelfAttention(CONFIG)
    hidden = torch.randn(3, 7, 12, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(attention(hidden), attention(hidden))
    attention.eval()
    assert torch.equal(attention(hidden), attention(hidden))
