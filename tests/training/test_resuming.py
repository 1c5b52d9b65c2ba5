"""Checkpoints that a run cannot go on from are refused in one line, also under fairseq's own tasks and models."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.initialize import add_defaults

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
        set_up(**changed).go_on()
    message = str(refused.value)
    assert message.startswith(f"checkpoint_last.pt: Cannot load model parameters from checkpoint {path}: {difference}")
    assert message.endswith("start from nothing in another --save-dir (checkpoint.save_dir)")
    assert len(message) < 700


def test_data_of_another_dictionary(set_up: Callable[..., Run], tmp_path: Path) -> None:
    path = set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    state = torch.load(path)
    symbols = list(set_up().task.source_dictionary.symbols)
    torch.save(state | {"task_state": {"dictionary_symbols": symbols}}, path)
    set_up().go_on()
    symbols[5:7] = symbols[6], symbols[5]
    torch.save(state | {"task_state": {"dictionary_symbols": symbols}}, path)
    expected = rf"checkpoint {path} has another dictionary than the data's dict.txt: .* and id 5 is '{symbols[5]}'"
    with pytest.raises(UserError, match=expected):
        set_up().go_on()


def test_weights_without_a_position_in_the_data(set_up: Callable[..., Run], tmp_path: Path) -> None:
    path = set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    state = torch.load(path)
    torch.save(state | {"extra_state": {"train_iterator": None}}, path)
    with pytest.raises(UserError, match=r"checkpoint_last.pt: has no position in the data .* give it to --pretrained"):
        set_up().go_on()


def test_the_validation_that_ended_an_epoch_reduces_the_learning_rate(
    set_up: Callable[..., Run], tmp_path: Path
) -> None:
    """fairseq stores the epoch's checkpoint before that."""
    run = set_up()
    run.cfg.lr_scheduler = {"_name": "reduce_lr_on_plateau"}
    add_defaults(run.cfg)
    stopped, resumed = (run.trainer() for _ in range(2))
    rate = stopped.lr_step(1, 5.0)
    stopped.set_num_updates(3)
    stopped.consolidate_optimizer()
    position = {"version": 2, "epoch": 3, "iterations_in_epoch": 0, "shuffle": True}
    stopped.save_checkpoint(str(tmp_path / "checkpoint_last.pt"), {"train_iterator": position, "val_loss": 6.0})
    checkpoint_utils.load_checkpoint(run.cfg.checkpoint, resumed)
    assert resumed.get_lr() == pytest.approx(rate / 10) == stopped.lr_step(2, 6.0)


def test_killed_between_the_first_two_copies_of_a_checkpoint(set_up: Callable[..., Run], tmp_path: Path) -> None:
    run = set_up()
    path = run.save_checkpoint(tmp_path / "checkpoint_best.pt")
    state = torch.load(path)
    state["optimizer_history"][-1]["num_updates"] = 3
    torch.save(state, path)
    run.cfg.checkpoint.no_epoch_checkpoints = True
    assert run.go_on().get_num_updates() == 3


def test_a_file_to_go_on_from_that_is_not_there(set_up: Callable[..., Run], tmp_path: Path) -> None:
    """fairseq would begin from nothing."""
    run = set_up()
    run.cfg.checkpoint.restore_file = str(tmp_path / "checkpoint9.pt")
    with pytest.raises(UserError, match=f"^--restore-file {tmp_path}/checkpoint9.pt .*: no such file; leave it out"):
        run.go_on()


def test_updates_and_validations_of_fairseqs_own_tasks_are_guarded(set_up: Callable[..., Run]) -> None:
    run = set_up()
    run.task.load_dataset("train")
    dataset = run.task.dataset("train")
    (first, second) = ({**dataset.collater([dataset[index]]), "id": torch.tensor([index])} for index in (3, 7))
    trainer = run.trainer()
    _, epochs = checkpoint_utils.load_checkpoint(run.cfg.checkpoint, trainer)
    trainer.begin_epoch(epochs.epoch)
    trainer.train_step([first])
    assert trainer.get_num_updates() == 1
    with torch.no_grad():
        run.model.encoder.lm_head.bias[7] = torch.nan
    with pytest.raises(UserError, match="^update 2: loss is nan in the batch of samples 7. The update was not made"):
        trainer.train_step([second])
    with pytest.raises(UserError, match="^validation: loss is nan in the batch of samples 3. The last checkpoint"):
        trainer.valid_step(first)
    del first["id"]
    with pytest.raises(UserError, match="^validation: loss is nan in a batch without ids. "):
        trainer.valid_step(first)


def test_what_a_killed_run_was_writing_is_removed(set_up: Callable[..., Run], tmp_path: Path) -> None:
    set_up().save_checkpoint(tmp_path / "checkpoint_last.pt")
    for name in ("checkpoint_last.pt", "checkpoint_3_77.pt", "checkpoint_last.pt.damaged2", "crash.pt"):
        (tmp_path / f"{name}.0123abcd.tmp").write_bytes(b"half")
    others = {"notes.tmp", "checkpoint_1.pt.tmp", "checkpoint_last.pt.mine.tmp", "checkpoint.pt.0123abcd.tmp.tmp"}
    for name in others:
        (tmp_path / name).touch()
    set_up().go_on()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_last.pt", *others}
