"""fairseq's own ``masked_lm`` criterion trains an encoder: that is how a teacher is made."""

from pathlib import Path

import torch

from fairseq_distil.checkpoints.key_maps import WORD_EMBEDDINGS
from fairseq_distil.modules import cpu_has_bfloat16

from .commands import ForkedCommands, Run
from .conftest import TEACHER, Options


def assert_loss_falls(run: Run) -> None:
    losses = [float(record["loss"]) for record in run.logged("train_inner")]
    assert len(losses) == TEACHER["max_update"]
    assert max(losses[-10:]) < losses[0] - 0.3
    assert float(run.logged("valid")[-1]["valid_loss"]) < losses[0] - 0.5


def test_under_this_projects_task(teacher: Run) -> None:
    assert_loss_falls(teacher)


def test_under_fairseqs_masked_lm_task(
    commands: ForkedCommands, options: Options, teacher: Run, tmp_path: Path
) -> None:
    arguments = options(tmp_path, **TEACHER | {"task": "masked_lm"})
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_loss_falls(run)
    assert run.weights().keys() == teacher.weights().keys()


def test_bfloat16_keeps_weights_in_float32(
    commands: ForkedCommands, options: Options, teacher: Run, tmp_path: Path
) -> None:
    arguments = options(tmp_path, **TEACHER | {"autocast_dtype": "bfloat16"})
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    assert_loss_falls(run)
    assert {tensor.dtype for tensor in run.weights().values()} == {torch.float32}
    float32_loss, bfloat16_loss = (r.scalars("valid")["loss"][TEACHER["max_update"]] for r in (teacher, run))
    if cpu_has_bfloat16():
        assert abs(bfloat16_loss - float32_loss) < 0.1
        assert not torch.equal(run.weights()[WORD_EMBEDDINGS], teacher.weights()[WORD_EMBEDDINGS])
    else:
        assert bfloat16_loss == float32_loss and "bfloat16 is computed in float32 here" in run.stdout
