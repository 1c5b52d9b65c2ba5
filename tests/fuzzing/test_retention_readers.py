"""What the retention report finds of an earlier call: results and TensorBoard's files."""

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from fairseq_distil.evaluation.retention.downstream_tasks import DOWNSTREAM_TASKS
from fairseq_distil.evaluation.retention.jobs import Job, best_scores

from .conftest import Fuzz
from .mutations import changed_bytes, changed_tree

TASK = DOWNSTREAM_TASKS["MRPC"]


def test_result(fuzz: Fuzz, tmp_path: Path) -> None:
    job = Job("student", tmp_path / "x.pt", TASK, tmp_path / "recipe.yaml", tmp_path, 1, tmp_path)
    seed = {"acc_and_f1": 81.5, "accuracy": 80.0, "f1": 83.0}

    def read(content: bytes) -> None:
        (tmp_path / "result.json").write_bytes(content)
        assert all(isinstance(job.result()[metric], float | int) for metric in (TASK.metric, *TASK.details))

    trees = changed_tree(seed).map(lambda tree: json.dumps(tree).encode())
    fuzz(read, trees | changed_bytes([json.dumps(seed).encode()]), [b"[" * 100_000, b"{}", b"\xff"])


def test_curves(fuzz: Fuzz, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for update in (5, 10):
            for metric in (TASK.metric, *TASK.details):
                writer.add_scalar(metric, update / 2, update)
    (file,) = tmp_path.iterdir()
    seed = file.read_bytes()

    def read(content: bytes) -> None:
        file.write_bytes(content)
        best_scores(tmp_path, TASK)

    fuzz(read, changed_bytes([seed]))
