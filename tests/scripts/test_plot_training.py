"""Curves from real event files."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

SCRIPT = Path(__file__).parents[2] / "scripts" / "plot_training.py"
PANEL_WIDTH, HEIGHT = 550, 440  # 5 by 4 inches at 110 dots an inch

plot_training = runpy.run_path(str(SCRIPT))
draw, read_scalars = plot_training["draw"], plot_training["read_scalars"]


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run's logs, of validation by default; returns its folder."""

    def write(run: str, scalars: dict[str, list[float]], split: str = "valid") -> Path:
        with SummaryWriter(str(tmp_path / run / split)) as writer:
            for name, values in scalars.items():
                for index, value in enumerate(values, start=1):
                    writer.add_scalar(name, value, 10 * index)
        return tmp_path / run

    return write


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, after all of it has been decoded."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


def test_read_scalars(write_run: Callable, tmp_path: Path) -> None:
    folder = write_run("student", {"mlm_ppl": [64.0, 16.0, 8.0], "mlm_accuracy": [0.5]})
    assert read_scalars(folder / "valid") == {
        "mlm_ppl": ([10, 20, 30], [64.0, 16.0, 8.0]),
        "mlm_accuracy": ([10], [0.5]),
    }
    assert read_scalars(folder / "train_inner") == {}


def test_what_an_interrupted_run_did_again_counts_once(tmp_path: Path) -> None:
    for steps, value in [([10, 20, 30, 40], 1.0), ([20, 30], 2.0)]:  # went on from the checkpoint of update 10
        with SummaryWriter(str(tmp_path / "valid"), filename_suffix=f".{value}") as writer:
            for step in steps:
                writer.add_scalar("mlm_ppl", value, step)
    assert read_scalars(tmp_path / "valid") == {"mlm_ppl": ([10, 20, 30, 40], [1.0, 2.0, 2.0, 1.0])}


def test_no_value_is_left_out_of_a_long_run(write_run: Callable) -> None:
    values = [float(index) for index in range(12_000)]  # TensorBoard itself would show a sample of 10,000
    folder = write_run("long", {"mlm_ppl": values})
    assert read_scalars(folder / "valid")["mlm_ppl"][1] == values


def test_one_panel_a_scalar_that_some_run_has(write_run: Callable, tmp_path: Path) -> None:
    write_run("teacher", {"ppl": [9.0, 7.0], "wps": [1.0]})
    teacher = write_run("teacher", {"ppl": [9.5, 7.5]}, split="train_inner")
    student = write_run("student", {"mlm_ppl": [20.0, 10.0], "cosine_loss": [0.5], "teacher_agreement": [0.2]})
    draw({"teacher": teacher}, tmp_path / "one.png")
    assert size(tmp_path / "one.png") == (PANEL_WIDTH, HEIGHT)
    draw({"teacher": teacher, "student": student}, tmp_path / "three.png")
    assert size(tmp_path / "three.png") == (3 * PANEL_WIDTH, HEIGHT)


def test_a_picture_replaces_an_older_one_and_folders_are_made(write_run: Callable, tmp_path: Path) -> None:
    folder = write_run("student", {"mlm_accuracy": [0.1, 0.2]})
    output = tmp_path / "new" / "curves.png"
    draw({"student": folder}, output)
    output.write_bytes(b"older")
    draw({"student": folder}, output)
    assert size(output) == (PANEL_WIDTH, HEIGHT)
    assert [path.name for path in output.parent.iterdir()] == ["curves.png"]


def test_runs_without_curves(write_run: Callable, tmp_path: Path) -> None:
    folder = write_run("student", {"wps": [1.0]})
    with pytest.raises(ValueError, match=f"no curves in {folder}, {tmp_path}/absent; expected folders of --tensor"):
        draw({"student": folder, "absent": tmp_path / "absent"}, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_as_a_command(run_script: Callable, write_run: Callable, tmp_path: Path) -> None:
    folder = write_run("student", {"mlm_accuracy": [0.1, 0.2]})
    result = run_script(SCRIPT, "--run", f"student={folder}", "--output", str(tmp_path / "curves.png"))
    assert result.returncode == 0, result.stderr
    assert size(tmp_path / "curves.png") == (PANEL_WIDTH, HEIGHT)


def test_mistakes_are_one_line_and_status_2(run_script: Callable, tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "curves.png")]
    result = run_script(SCRIPT, "--run", f"student={tmp_path}", *output)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: no curves in {tmp_path}; expected folders of --tensorboard-logdir\n"

    result = run_script(SCRIPT, "--run", f"one={tmp_path}", "--run", f"one={tmp_path}", *output)
    assert (result.returncode, result.stderr) == (2, "error: --run names must differ, found one, one\n")

    result = run_script(SCRIPT, "--run", "student", *output)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].endswith("error: argument --run: 'student' is not NAME=FOLDER")
