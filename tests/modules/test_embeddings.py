import pytest
import torch

from fairseq_distil.modules import EncoderConfig, TransformerEmbeddings


@pytest.fixture
def embeddings() -> TransformerEmbeddings:
    config = EncoderConfig(7, padding_index=1, width=2, attention_heads=1, max_positions=5, dropout=0.0)
    return TransformerEmbeddings(config)


def test_layer_norm_of_word_plus_position(embeddings: TransformerEmbeddings) -> None:
    with torch.no_grad():
        embeddings.word_embeddings.weight[4] = torch.tensor([1.0, 0.0])
        embeddings.position_embeddings.weight[:2] = torch.tensor([[3.0, 0.0], [-2.0, 0.0]])
    # Sums (4, 0) and (-1, 0): of two numbers LayerNorm keeps which is greater.
    expected = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    torch.testing.assert_close(embeddings(torch.tensor([[4, 4]])), expected)


def test_sequences_beyond_the_positions_are_refused(embeddings: TransformerEmbeddings) -> None:
    assert embeddings(torch.full((3, 5), 4)).shape == (3, 5, 2)
    with pytest.raises(ValueError, match="sequences of 6 tokens do not fit the encoder's 5 positions"):
        embeddings(torch.full((3, 6), 4))
