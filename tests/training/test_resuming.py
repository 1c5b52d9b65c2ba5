"""Checkpoints that a run cannot go on from are refused in one line, also under fairseq's own tasks and models."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from fairseq_distil.errors import UserError

from ..conftest import TINY, Run

ROBERTA = {"_name": "roberta", "encoder_layers": 1, **TINY}


@pytest.fixture
def set_up(setup_run: Callable[..., Run], data: str, tmp_path: Path) -> Callable[..., Run]:
    """Sets up fairseq's own RoBERTa and masked-LM task, to be trained in ``tmp_path``."""

    def make(**changed: int) -> Run:
        run = setup_run(ROBERTA | changed, _name="masked_lm", data=data, tokens_per_sample=17)
        run.cfg.checkpoint.save_dir = str(tmp_path)
        return run

    return make


def go_on(run: Run) -> None:
    trainer = Trainer(run.cfg, run.task, run.model, run.criterion)
    checkpoint_utils.load_checkpoint(run.cfg.checkpoint, trainer)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"encoder_embed_dim": 16}, "size mismatch for encoder.sentence_encoder.embed_tokens.weight: copying a param"),
        ({"encoder_layers": 30}, 'Missing key(s) in state_dict: "encoder.sentence_encoder.layers.1.self_attn.k_proj'),
    ],
)
def test_weights_of_another_architecture(
    changed: dict[str, int], difference: str, set_up: Callable[..., Run], tmp_path: Path
) -> None:
    path = set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    with pytest.raises(UserError) as refused:
        go_on(set_up(**changed))
    message = str(refused.value)
    assert message.startswith(f"checkpoint_last.pt: Cannot load model parameters from checkpoint {path}: {difference}")
    assert message.endswith("start from nothing in another --save-dir (checkpoint.save_dir)")
    assert len(message) < 700


def test_weights_without_a_position_in_the_data(set_up: Callable[..., Run], tmp_path: Path) -> None:
    path = set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    state = torch.load(path)
    torch.save(state | {"extra_state": {"train_iterator": None}}, path)
    with pytest.raises(UserError, match=r"checkpoint_last.pt: has no position in the data .* give it to --pretrained"):
        go_on(set_up())


def test_what_a_killed_run_was_writing_is_removed(set_up: Callable[..., Run], tmp_path: Path) -> None:
    set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    for name in ("checkpoint_last.pt", "checkpoint_3_77.pt", "checkpoint_last.pt.damaged2", "crash.pt"):
        (tmp_path / f"{name}.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / "notes.tmp").touch()
    go_on(set_up())
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_last.pt", "notes.tmp"}
