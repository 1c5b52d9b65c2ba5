import torch

from fairseq_distil.modules import EncoderConfig, TransformerEncoder


def test_what_stands_at_padding_does_not_matter() -> None:
    torch.manual_seed(1)
    config = EncoderConfig(47, padding_index=1, layers=3, width=12, feed_forward_width=20, attention_heads=4)
    encoder = TransformerEncoder(config).eval()
    tokens = torch.randint(5, 47, (3, 11))
    padding_mask = torch.zeros(3, 11, dtype=torch.bool)
    padding_mask[1, 8:] = padding_mask[2, 5:] = True
    first = encoder(tokens, padding_mask)
    second = encoder(tokens.masked_fill(padding_mask, 1), padding_mask)
    alone = encoder(tokens[2:, :5])
    assert len(first) == config.layers + 1
    for padded, padded_otherwise, unpadded in zip(first, second, alone, strict=True):
        assert torch.equal(padded[~padding_mask], padded_otherwise[~padding_mask])
        torch.testing.assert_close(padded[2, :5], unpadded[0], atol=1e-6, rtol=1e-5)
