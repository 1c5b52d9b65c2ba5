import torch
import torch.nn.functional as F

from fairseq_distil.modules import EncoderConfig, MaskedLMHead


def test_transform_then_tied_projection() -> None:
    head = MaskedLMHead(EncoderConfig(47, padding_index=1, width=2, attention_heads=1, activation="relu"))
    with torch.no_grad():
        head.dense.weight.copy_(torch.eye(2))
        head.dense.bias.zero_()
        head.bias.copy_(torch.arange(47.0))
    weight = torch.randn(47, 2, generator=torch.Generator().manual_seed(1))
    # relu leaves (3, 0), and LayerNorm of two unequal numbers is (1, -1).
    logits = head(torch.tensor([[3.0, -5.0]]), weight)
    torch.testing.assert_close(logits[0], weight[:, 0] - weight[:, 1] + torch.arange(47.0))


def test_activation_is_the_encoders() -> None:
    config = EncoderConfig(47, padding_index=1, width=12, attention_heads=4)
    head = MaskedLMHead(config)
    hidden = torch.randn(3, 12)
    torch.testing.assert_close(head.transform(hidden), head.layer_norm(F.gelu(head.dense(hidden))))
