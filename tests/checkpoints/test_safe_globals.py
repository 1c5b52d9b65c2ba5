"""What the first of several workers reads from a checkpoint, the others can receive."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.distributed.utils import _put_tensors_in_obj, _split_tensors_from_obj


def sent(state: object) -> object:
    """As fairseq's ``broadcast_object`` sends it, the tensors apart."""
    tensors: list[torch.Tensor] = []
    buffer = io.BytesIO()
    torch.save(_split_tensors_from_obj(state, tensors), buffer)
    buffer.seek(0)
    return _put_tensors_in_obj(torch.load(buffer), tensors)


@pytest.mark.parametrize("task", ["distil_masked_lm", "sentence_prediction", "question_answering"])
def test_a_checkpoint_is_sent_by_safe_loading(
    setup_run: Callable, sentence_data: Callable, squad_data: Path, tmp_path: Path, task: str
) -> None:
    settings = {
        "distil_masked_lm": {},
        "sentence_prediction": sentence_data("no", "yes"),
        "question_answering": {"_name": "question_answering", "data": str(squad_data)},
    }[task]
    criterion = {"_name": "masked_lm" if task == "distil_masked_lm" else task}
    model = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "encoder_attention_heads": 4}
    path = setup_run({**model, "max_positions": 19}, criterion, **settings).save_checkpoint(tmp_path / "model.pt")
    state = load_checkpoint_to_cpu(path)
    received = sent(state)
    assert received.keys() == state.keys() and received["cfg"] == state["cfg"]
    assert received["extra_state"]["train_iterator"] == state["extra_state"]["train_iterator"]
    torch.testing.assert_close(received["model"], dict(state["model"]), rtol=0, atol=0)


def test_other_types_are_still_refused() -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        sent({"path": Path("folder")})
