"""``fairseq-train`` and ``fairseq-hydra-train`` do the same for the same settings."""

from pathlib import Path

import torch

from .commands import TIMES, ForkedCommands, Run


def test_entry_points_agree(commands: ForkedCommands, student: Run, recipe: list[str], tmp_path: Path) -> None:
    arguments = [*recipe, f"checkpoint.save_dir={tmp_path}"]
    run = commands.run("fairseq-hydra-train", *arguments, save_dir=tmp_path).assert_succeeded()

    for tag in ("train_inner", "train", "valid"):
        found, expected = run.scalars(tag), student.scalars(tag)
        assert found.keys() == expected.keys()
        for name in expected.keys() - TIMES:
            assert found[name] == expected[name], f"{tag} {name}"
    torch.testing.assert_close(run.weights(), student.weights(), rtol=0, atol=0)
