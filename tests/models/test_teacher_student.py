"""The frozen teacher beside the student, and the student's first weights."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderConfig, DistilEncoderModel, TeacherStudentModel
from fairseq_distil.modules import narrow, select_layers


def layer_of(model: DistilEncoderModel, layer: int) -> dict[str, torch.Tensor]:
    return model.encoder.layers[layer].state_dict()


def rest_of(model: DistilEncoderModel) -> dict[str, torch.Tensor]:
    """Embeddings and masked-LM head."""
    return {name: tensor for name, tensor in model.state_dict().items() if "layers" not in name}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_teacher_is_what_its_checkpoint_holds(student_run: Callable, teacher_run) -> None:
    teacher = student_run().model.teacher
    assert type(teacher) is DistilEncoderModel
    assert teacher.config == teacher_run.model.config
    assert equal(teacher.state_dict(), teacher_run.model.state_dict())


def test_the_teacher_is_in_neither_state_nor_parameters_nor_modules(student_run: Callable) -> None:
    model = student_run(encoder_layers=1).model
    alone = DistilEncoderModel(model.config)
    assert model.state_dict().keys() == alone.state_dict().keys()
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in alone.named_parameters()]
    assert model.teacher not in set(model.modules())


def test_the_teacher_stays_in_evaluation_mode(setup_run: Callable, student_run: Callable, tmp_path) -> None:
    teacher = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "dropout": 0.5}
    path = setup_run(teacher).save_checkpoint(tmp_path / "with_dropout.pt")
    model = student_run(teacher=path, dropout=0.5).model
    tokens = {"src_tokens": torch.tensor([[0, 9, 8, 7, 2]])}
    for mode in (model.train, partial(model.train, False), model.eval):
        mode()
        assert not any(module.training for module in model.teacher.modules())
        assert torch.equal(model.teacher_states(tokens, [1])[1], model.teacher_states(tokens, [1])[1])
    model.train()
    assert not torch.equal(model(**tokens)[0], model(**tokens)[0])


def test_the_teacher_has_no_gradients_and_does_not_change(student_run: Callable) -> None:
    run = student_run()
    before = {name: tensor.clone() for name, tensor in run.model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    loss, _, _ = run.criterion(run.model.train(), run.batch(indices=[0, 1]))
    loss.backward()
    optimizer.step()
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in run.model.teacher.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in run.model.parameters())
    assert equal(run.model.teacher.state_dict(), before)


def test_the_teacher_sees_the_input_of_the_student(student_run: Callable, teacher_run) -> None:
    run = student_run()
    net_input = run.batch(indices=[0, 1])["net_input"]
    states = run.model.teacher_states(net_input, [0, 2, 3])
    assert all(hidden.is_inference() for hidden in states.values())
    expected = teacher_run.model.eval()(**net_input, return_all_hiddens=True)[1]["inner_states"]
    torch.testing.assert_close(states, {layer: expected[layer] for layer in (0, 2, 3)})


def test_the_teachers_layers_above_those_that_are_wanted_are_not_computed(student_run: Callable) -> None:
    run = student_run()
    run.model.teacher.encoder.layers[2].forward = None
    assert list(run.model.teacher_states(run.batch(indices=[0])["net_input"], [2])) == [2]


@pytest.mark.parametrize(
    ("move", "dtype"),
    [
        (lambda model: model.half(), torch.float16),
        (lambda model: model.to(torch.float64), torch.float64),
        (lambda model: model.to(dtype=torch.bfloat16).float(), torch.float32),
    ],
)
def test_the_teacher_follows_the_student(student_run: Callable, move: Callable, dtype: torch.dtype) -> None:
    model = student_run().model
    assert move(model) is model
    for encoder in (model, model.teacher):
        assert {parameter.dtype for parameter in encoder.parameters()} == {dtype}


def test_the_teacher_follows_the_student_to_a_device(student_run: Callable) -> None:
    model = student_run().model.to("meta")
    assert {parameter.device.type for parameter in model.teacher.parameters()} == {"meta"}


def test_sizes_are_the_teachers_with_half_of_the_layers(
    student_run: Callable, teacher_run, setup_run, tmp_path
) -> None:
    teacher = teacher_run.model.config
    student = student_run().model.config
    for name in ("width", "feed_forward_width", "attention_heads", "max_positions", "activation", "layer_norm_epsilon"):
        assert getattr(student, name) == getattr(teacher, name), name
    assert (teacher.layers, student.layers) == (3, 1)
    sizes = {"encoder_layers": 5, "encoder_embed_dim": 12, "activation_fn": "relu", "layer_norm_eps": 1e-5}
    other = setup_run({"_name": "distil_encoder", **sizes, "max_positions": 33}).save_checkpoint(tmp_path / "other.pt")
    student = student_run(teacher=other).model.config
    assert (student.layers, student.activation, student.layer_norm_epsilon) == (2, "relu", 1e-5)
    assert student.max_positions == 33


def test_sizes_are_written_into_the_configuration(student_run: Callable) -> None:
    cfg = student_run().cfg.model
    assert (cfg.encoder_layers, cfg.encoder_embed_dim, cfg.encoder_ffn_embed_dim, cfg.max_positions) == (1, 12, 20, 19)


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, [0]),
        ({"encoder_layers": 2}, [0, 2]),
        ({"encoder_layers": 3}, [0, 1, 2]),
        ({"encoder_layers": 2, "teacher_layer_map": "2,1"}, [2, 1]),
        ({"teacher_layer_map": "2"}, [2]),
    ],
)
def test_the_student_starts_from_the_layers_of_the_map(
    student_run: Callable, settings: dict, layers: list[int]
) -> None:
    model = student_run(**settings).model
    assert model.config.layers == len(layers)
    for layer, teacher_layer in enumerate(layers):
        assert equal(layer_of(model, layer), layer_of(model.teacher, teacher_layer))
    assert equal(rest_of(model), rest_of(model.teacher))
    theirs = {tensor.data_ptr() for tensor in model.teacher.state_dict().values()}
    assert not theirs & {tensor.data_ptr() for tensor in model.state_dict().values()}


def test_a_random_student_does_not_start_from_the_teacher(student_run: Callable) -> None:
    model = student_run(student_init="random", encoder_layers=3).model
    for name, weight in model.named_parameters():
        if name.endswith("weight") and "layer_norm" not in name:
            assert not torch.equal(weight, model.teacher.get_parameter(name)), name


@pytest.mark.parametrize(("width", "feed_forward_width"), [(8, 13), (24, 40)])
def test_a_student_of_another_width_has_the_teachers_proportions(
    student_run: Callable, width: int, feed_forward_width: int
) -> None:
    """The teacher's 12 and 20."""
    config = student_run(student_init="random", encoder_embed_dim=width).model.config
    assert (config.width, config.feed_forward_width) == (width, feed_forward_width)


def test_a_narrower_student_starts_from_a_part_of_its_teacher(student_run: Callable) -> None:
    """Its heads are as wide as the teacher's."""
    model = student_run(encoder_embed_dim=6, encoder_ffn_embed_dim=20).model
    assert (model.config.width, model.config.attention_heads) == (6, 2)
    expected = narrow(select_layers(model.teacher.state_dict(), [0]), model.teacher.config, model.config)
    assert equal(model.state_dict(), expected)
    taught = model.teacher.encoder.embeddings.word_embeddings.weight.T.tolist()
    assert all(dimension in taught for dimension in model.encoder.embeddings.word_embeddings.weight.T.tolist())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": None}, r"teacher_student needs --teacher \(model.teacher\): the checkpoint of a distil_encoder"),
        ({"encoder_layers": 4}, "a student of 4 layers cannot start from a teacher of 3 layers"),
        (
            {"teacher_layer_map": "3"},
            r"--teacher-layer-map \(model.teacher_layer_map\): '3' names layer 3, but the teach",
        ),
        ({"teacher_layer_map": "0,2"}, "'0,2' is not a list of 1 teacher layers"),
        (
            {"encoder_embed_dim": 6, "encoder_ffn_embed_dim": 32},
            "the student cannot start from the teacher: the student's feed forward width is 32",
        ),
        (
            {"encoder_embed_dim": 8, "encoder_ffn_embed_dim": 20},
            "a head of the teacher is 3 wide, of the student 2; gi",
        ),
        ({"max_positions": 64}, "max_positions is 64 for the student and 19 for the teacher"),
        (
            {"student_init": "random", "teacher_layer_map": "0"},
            "--teacher-layer-map is of no use with --student-init ran",
        ),
    ],
)
def test_errors(student_run: Callable, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        student_run(**settings)
    assert "\n" not in str(error.value)


def test_a_checkpoint_holds_the_student_alone_and_loads_as_a_plain_encoder(
    student_run: Callable, teacher_run, setup_run: Callable, tmp_path
) -> None:
    run = student_run(encoder_layers=2)
    path = run.save_checkpoint(tmp_path / "student.pt")
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    assert equal(state["model"], run.model.state_dict())

    sizes = {name: run.cfg.model[name] for name in DistilEncoderConfig.__dataclass_fields__}
    plain = setup_run({**sizes, "_name": "distil_encoder"}).model
    plain.load_state_dict(state["model"], strict=True)
    tokens = torch.tensor([[0, 9, 8, 7, 2]])
    torch.testing.assert_close(plain.eval()(tokens), run.model.eval()(tokens))

    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([path], {"data": run.cfg.task.data})
    assert isinstance(models[0], TeacherStudentModel)
    assert equal(models[0].state_dict(), run.model.state_dict())
    assert equal(models[0].teacher.state_dict(), teacher_run.model.state_dict())


@pytest.mark.parametrize("teacher", ["gone.pt", None], ids=["gone", "none"])
def test_a_checkpoint_loads_as_a_plain_encoder_where_the_teacher_is_gone(
    student_run: Callable, tmp_path, teacher
) -> None:
    run = student_run(encoder_layers=2)
    path = run.save_checkpoint(tmp_path / "student.pt")
    overrides = {"data": run.cfg.task.data, "teacher": teacher}
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([path], overrides)
    assert type(models[0]) is DistilEncoderModel
    assert equal(models[0].state_dict(), run.model.state_dict())


def test_a_student_is_a_teacher_in_its_turn(student_run: Callable, tmp_path) -> None:
    first = student_run(encoder_layers=2)
    second = student_run(teacher=first.save_checkpoint(tmp_path / "student.pt")).model
    assert type(second.teacher) is DistilEncoderModel
    assert equal(second.teacher.state_dict(), first.model.state_dict())
    assert second.config.layers == 1


def test_both_are_compiled(student_run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler's own back end, which takes long."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model = student_run().model.eval()
    tokens = {"src_tokens": torch.tensor([[0, 5, 9, 7, 2]])}
    names, expected, taught = list(model.state_dict()), model(**tokens)[0], model.teacher(**tokens)[0]
    model.compile_encoder()
    for one in (model, model.teacher):
        assert one.encoder._compiled_call_impl is not None
    torch.testing.assert_close(model(**tokens)[0], expected)
    torch.testing.assert_close(model.teacher(**tokens)[0], taught)
    assert list(model.state_dict()) == names
