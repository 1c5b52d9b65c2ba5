"""Several teachers of one student."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel


@pytest.fixture(scope="session")
def make_teacher(setup_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes the checkpoint of another teacher."""

    def make(**model: object) -> str:
        sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2, "max_positions": 23}
        run = setup_run({"_name": "distil_encoder", **sizes, **model}, tokens_per_sample=16)
        return run.save_checkpoint(tmp_path_factory.mktemp("teachers") / "other.pt")

    return make


@pytest.fixture(scope="session")
def other_path(make_teacher: Callable[..., str]) -> str:
    """Of other sizes."""
    return make_teacher()


def test_the_student_starts_from_the_first(student_run: Callable, teacher_path: str, other_path: str) -> None:
    model = student_run(teacher=f"{teacher_path}:{other_path}").model
    assert [teacher.config.width for teacher in model.teachers] == [12, 8]
    assert model.teacher is model.teachers[0] and model.config.width == 12
    alone = student_run().model
    for name, tensor in alone.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert not any(parameter.requires_grad for teacher in model.teachers for parameter in teacher.parameters())


@pytest.mark.parametrize(
    ("weights", "parts"), [(None, (0.5, 0.5)), ([0.25, 0.75], (0.25, 0.75)), ([3.0, 1.0], (0.75, 0.25))]
)
def test_weights_are_over_their_sum(
    student_run: Callable, teacher_path: str, other_path: str, weights: list[float] | None, parts: tuple[float, ...]
) -> None:
    model = student_run(teacher=f"{teacher_path}:{other_path}", teacher_weights=weights).model
    assert model.teacher_weights == parts


def test_a_single_teacher_whose_path_has_a_colon(student_run: Callable, teacher_path: str, tmp_path: Path) -> None:
    with_colon = tmp_path / "a:b.pt"
    with_colon.write_bytes(Path(teacher_path).read_bytes())
    assert len(student_run(teacher=str(with_colon)).model.teachers) == 1


def test_all_of_them_follow_the_student_and_its_teachers_type(
    student_run: Callable, teacher_path: str, other_path: str
) -> None:
    model = student_run(teacher=f"{teacher_path}:{other_path}").model.to(torch.float64)
    assert {p.dtype for teacher in model.teachers for p in teacher.parameters()} == {torch.float64}
    model = student_run(teacher=f"{teacher_path}:{other_path}", teacher_dtype="bfloat16").model.half()
    assert {p.dtype for teacher in model.teachers for p in teacher.parameters()} == {torch.bfloat16}


def test_a_checkpoint_holds_the_student_alone(
    student_run: Callable, teacher_path: str, make_teacher: Callable[..., str], tmp_path: Path
) -> None:
    """And loads without its teachers where one of them is gone."""
    other_path = make_teacher()
    run = student_run(teacher=f"{teacher_path}:{other_path}", teacher_weights=[2.0, 1.0])
    path = run.save_checkpoint(tmp_path / "student.pt")
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    assert state["model"].keys() == DistilEncoderModel(run.model.config).state_dict().keys()

    load = checkpoint_utils.load_model_ensemble_and_task
    assert load([path], {"data": run.cfg.task.data})[0][0].teacher_weights == (2 / 3, 1 / 3)
    Path(other_path).unlink()
    model = load([path], {"data": run.cfg.task.data})[0][0]
    assert type(model) is DistilEncoderModel
    assert all(torch.equal(tensor, run.model.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"--teacher-weights \(model.teacher_weights\) has 1 weights, but --teacher names 2 teachers"),
        ([1.0, 0.0], "the weight of teacher .*other.pt is 0.0, but must be from 1e-06 to 1e.06; leave out a teacher"),
        ([1e308, 1e308], r"the weight of teacher .*teacher.pt is 1e\+308, but"),
        ([float("nan"), 1.0], "the weight of teacher .*teacher.pt is nan"),
        ([1.0, float("inf")], "the weight of teacher .*other.pt is inf"),
    ],
)
def test_wrong_weights(
    student_run: Callable, teacher_path: str, other_path: str, weights: list[float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        student_run(teacher=f"{teacher_path}:{other_path}", teacher_weights=weights)


def test_weights_of_one_teacher(student_run: Callable) -> None:
    with pytest.raises(UserError, match="is for several teachers, but --teacher names one; leave it out"):
        student_run(teacher_weights=[1.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"no_masked_lm_head": True}, "teacher .*other.pt: it has no masked-LM head, which each of several teachers"),
        ({"max_positions": 16}, r"teacher .*other.pt: it has 16 positions, but --tokens-per-sample .* is 17; lower it"),
    ],
)
def test_a_teacher_that_can_have_no_part(
    student_run: Callable, make_teacher: Callable[..., str], teacher_path: str, settings: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        student_run(teacher=f"{teacher_path}:{make_teacher(**settings)}")


def test_a_single_one_with_fewer_positions_than_the_samples(
    student_run: Callable, make_teacher: Callable[..., str]
) -> None:
    with pytest.raises(UserError, match=r"teacher .*other.pt: it has 16 positions, but --tokens-per-sample .* is 17"):
        student_run(teacher=make_teacher(max_positions=16), student_init="random", max_positions=19)


def test_samples_are_as_long_as_all_of_them_can_read(student_run: Callable, teacher_path: str, other_path: str) -> None:
    model = student_run(teacher=f"{other_path}:{teacher_path}", student_init="random", max_positions=64).model
    assert (model.config.max_positions, model.max_positions()) == (64, 19)
    assert student_run(student_init="random", max_positions=18).model.max_positions() == 18


def test_a_missing_one_is_named(student_run: Callable, teacher_path: str) -> None:
    with pytest.raises(UserError, match="teacher gone.pt: no such file; give --teacher"):
        student_run(teacher=f"{teacher_path}:gone.pt")


@pytest.mark.parametrize("teacher", ["{}:", ":{}", "{}: :{}"])
def test_one_without_a_name(student_run: Callable, teacher_path: str, teacher: str) -> None:
    with pytest.raises(UserError, match=r"--teacher \(model.teacher\) is '.*', with no path before or after a colon"):
        student_run(teacher=teacher.format(teacher_path, teacher_path))


def test_one_of_another_dictionary_is_named(
    student_run: Callable, setup_run: Callable, write_data: Callable, teacher_path: str, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data", {"train": [[4, 5]]}, ["other", "words"])
    other = setup_run({"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12}, data=data)
    path = other.save_checkpoint(tmp_path / "stranger.pt")
    with pytest.raises(UserError, match="teacher .*stranger.pt has another dictionary than the data's dict.txt"):
        student_run(teacher=f"{teacher_path}:{path}")


def test_other_tasks_have_one(setup_run: Callable, sentence_data: Callable, teacher_path: str) -> None:
    settings = {"_name": "teacher_student", "teacher": f"{teacher_path}:{teacher_path}"}
    with pytest.raises(UserError, match="several teachers are for masked language modelling, not for task sentence_p"):
        setup_run(settings, {"_name": "sentence_prediction_distillation"}, **sentence_data("one", "two"))


def test_they_are_for_the_soft_targets(setup_run: Callable, teacher_path: str, other_path: str) -> None:
    settings = {"_name": "teacher_student", "teacher": f"{teacher_path}:{other_path}"}
    with pytest.raises(UserError, match="several teachers have a part in the soft targets alone, but criterion.soft_t"):
        setup_run(settings, {"_name": "distillation", "soft_target_weight": 0.0})


@pytest.mark.parametrize("positions", ["all", "masked"])
@pytest.mark.parametrize("top_k", [None, 5])
def test_the_soft_targets_are_the_mixture(
    setup_run: Callable, teacher_path: str, other_path: str, positions: str, top_k: int | None
) -> None:
    """The cosine term is of the first alone."""
    settings = {"_name": "teacher_student", "teacher": f"{teacher_path}:{other_path}", "teacher_weights": [0.7, 0.3]}
    objective = {"soft_target_positions": positions, "soft_target_temperature": 3.0, "soft_target_top_k": top_k}
    run = setup_run(settings, {"_name": "distillation", **objective}, sample_break_mode="eos")
    sample = run.batch()
    loss, _, log = run.criterion(run.model.eval(), sample)
    tokens = sample["net_input"]["src_tokens"].ne(1)
    masked = sample["target"].ne(1)
    rows = tokens if positions == "all" else masked
    with torch.no_grad():
        student, *teachers = (
            encoder(**sample["net_input"])[0][rows].double() for encoder in (run.model, *run.model.teachers)
        )
        hidden = [
            encoder(**sample["net_input"], features_only=True)[0][tokens] for encoder in (run.model, run.model.teacher)
        ]
    p = 0.7 * (teachers[0] / 3).softmax(-1) + 0.3 * (teachers[1] / 3).softmax(-1)
    q = (student / 3).softmax(-1)
    if top_k is not None:
        words = p.topk(top_k).indices
        p, q = (torch.cat([of.gather(1, words), of.scatter(1, words, 0).sum(1, True)], 1) for of in (p, q))
    expected = 9 * (p * (p / q).log()).sum()
    torch.testing.assert_close(log["soft_target_loss"], expected.float(), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(log["cosine_loss"], (1 - torch.cosine_similarity(*hidden)).sum(), atol=1e-3, rtol=1e-4)
    (gradient,) = torch.autograd.grad(loss, run.model.masked_lm_head.bias)
    assert gradient.isfinite().all() and gradient.any()
