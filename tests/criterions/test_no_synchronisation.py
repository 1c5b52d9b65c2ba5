"""An update of distillation never looks at a value of a tensor, for which a GPU would have to be waited for.

Here all is on a CPU, so that what is only done there is made to be as on a GPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from fairseq import optim
from fairseq.logging import metrics
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fairseq_distil.losses import vocabulary
from fairseq_distil.modules import SelfAttention
from fairseq_distil.modules import linear as linear_module

aten = torch.ops.aten
WAITING = (
    aten._local_scalar_dense,
    aten.equal,
    aten.is_nonzero,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.repeat_interleave,
)
"""Their result, or its shape, is only known when the device has computed it."""
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
"""They wait when an index is boolean."""
COPYING = {"cpu", "numpy", "tolist", "tensor", "as_tensor", "new_tensor", "from_numpy"}
"""From the device or to it."""
LINES = {"sample_break_mode": "eos"}  # a line is a sample: batches with padding
DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1}


class Waited(Exception):
    pass


class NoCopies(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), keywords: dict | None = None) -> Any:
        if getattr(function, "__name__", "") in COPYING:
            raise Waited(function.__name__)
        return function(*arguments, **(keywords or {}))


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        is_boolean = any(
            isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8) for leaf in tree_leaves(arguments[1:2])
        )
        if operation.overloadpacket in WAITING or (operation.overloadpacket in INDEXING and is_boolean):
            raise Waited(str(operation))
        return operation(*arguments, **(keywords or {}))


@contextmanager
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(vocabulary, "_is_known_to_be_one", lambda _: False)
    monkeypatch.setattr(SelfAttention, "_is_faster_in_steps", lambda *_: False)
    monkeypatch.setattr(linear_module, "_suits_onednn", lambda *_: False)
    with NoCopies(), NoWaiting():
        yield


@pytest.mark.parametrize(
    "look",
    [
        lambda values: values.sum().item(),
        lambda values: bool(values.any()),
        lambda values: torch.equal(values, values + 1),
        lambda values: values.nonzero(),
        lambda values: values[values > 1],
        lambda values: values.masked_fill_(values > 1, 0)[values > 1],
        lambda values: values.__setitem__(values > 1, values[:1]),
        lambda values: values.masked_select(values > 1),
        lambda values: values.unique(),
        lambda values: values.cpu(),
        lambda values: values.tolist(),
        lambda values: torch.tensor(2.0, device=values.device),
    ],
)
def test_waiting_is_seen(look: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([1.0, 2.0, 3.0])
    with no_waiting(monkeypatch), pytest.raises(Waited):
        look(values)


def update(run: Any, optimizer: optim.FairseqOptimizer, sample: dict[str, Any]) -> dict[str, Any]:
    """What fairseq's trainer does, but for its log."""
    optimizer.zero_grad()
    _, sample_size, log = run.task.train_step(sample, run.model, run.criterion, optimizer, 1)
    optimizer.multiply_grads(1 / sample_size)
    optimizer.clip_grad_norm(5.0)
    run.task.optimizer_step(optimizer, run.model, 1)
    return log


@pytest.fixture
def updated(distillation_run: Callable) -> Callable:
    """A run with its optimiser after the first update, where the teacher's values are looked at once."""

    def make(objective: dict[str, Any], model: dict[str, Any], **task: Any) -> tuple[Any, optim.FairseqOptimizer]:
        run = distillation_run(objective, DROPOUT | model, **task)
        run.cfg.optimizer = {"_name": "fused_adamw", "lr": [0.01]}
        parameters = [*run.model.parameters(), *run.criterion.parameters()]
        optimizer = optim.build_optimizer(run.cfg.optimizer, parameters)
        update(run, optimizer, run.batch(indices=[0, 1]))
        return run, optimizer

    return make


@pytest.mark.parametrize("cutting", [{}, LINES], ids=["blocks", "padded lines"])
@pytest.mark.parametrize(
    ("objective", "model"),
    [
        pytest.param({}, {}, id="published"),
        pytest.param({"soft_target_positions": "masked"}, {}, id="soft targets at masked tokens"),
        pytest.param({"hidden_weight": 2.0, "relation_weight": 3.0}, {}, id="all terms"),
        pytest.param({"hidden_weight": 2.0, "hidden_distance": "cosine"}, {"encoder_embed_dim": 8}, id="narrow"),
        pytest.param({"schedules": "cosine_weight=linear:1:0:9"}, {"teacher_dtype": "bfloat16"}, id="schedules"),
        pytest.param(
            {
                "relation_heads": 4,
                "schedules": "cosine_weight=linear:1:0:1,relation_weight=linear:1:0:1,soft_target_weight=linear:1:0:1",
            },
            {"teacher_dtype": "bfloat16", "encoder_embed_dim": 8},
            id="faded terms",
        ),
    ],
)
@pytest.mark.parametrize("autocast_dtype", ["none", "bfloat16"])
def test_an_update_never_waits(
    updated: Callable, objective: dict, model: dict, cutting: dict, autocast_dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, optimizer = updated(objective, model, autocast_dtype=autocast_dtype, **cutting)
    sample = run.batch(indices=[3, 4, 5])
    assert sample["net_input"]["has_padding"] is bool(cutting)
    before = parameters_to_vector(run.model.parameters()).detach().clone()
    with no_waiting(monkeypatch):
        log = update(run, optimizer, sample)
    assert not torch.equal(parameters_to_vector(run.model.parameters()), before)
    assert log["loss"].isfinite() and not log["loss"].requires_grad


class CountingCopies(TorchFunctionMode):
    """Notes what copies from the device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), keywords: dict | None = None) -> Any:
        if (name := getattr(function, "__name__", "")) in COPYING:
            self.names.append(name)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_log_of_an_update_is_one_copy(updated: Callable, workers: int) -> None:
    """fairseq's trainer asks for all means at every update, whether or not they are printed."""
    objective = {"hidden_weight": 2.0, "relation_weight": 3.0, "schedules": "cosine_weight=linear:1:0:9"}
    run, optimizer = updated(objective, {})
    logs = [update(run, optimizer, run.batch(indices=[3, 4, 5])) for _ in range(2)]
    if workers > 1:  # fairseq has then summed the logs of all of them, as tensors on the device
        logs = [{name: torch.as_tensor(sum(log[name] for log in logs), dtype=torch.double) for name in logs[0]}]
    with metrics.aggregate(new_root=True) as means, CountingCopies() as copies, NoWaiting():
        type(run.criterion).reduce_metrics(logs)
        found = means.get_smoothed_values()
    assert copies.names == ["tolist"]
    assert {"loss", "soft_target_loss", "mlm_ppl", "hidden_loss", "relation_loss"} < found.keys()
    assert found["cosine_loss"] == pytest.approx(
        sum(float(log["cosine_loss"]) for log in logs) / sum(int(log["cosine_tokens"]) for log in logs), abs=1e-4
    )


@pytest.mark.parametrize("known", ["has_padding", "positions"])
def test_it_is_the_collater_that_knows(updated: Callable, known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, optimizer = updated({}, {}, **LINES)
    sample = run.batch()
    del (sample if known == "positions" else sample["net_input"])[known]
    with no_waiting(monkeypatch), pytest.raises(Waited):
        update(run, optimizer, sample)


@pytest.mark.parametrize("cutting", [{}, LINES], ids=["blocks", "padded lines"])
def test_attention_is_masked_where_the_collater_tells_of_padding(
    distillation_run: Callable, cutting: dict[str, str]
) -> None:
    run = distillation_run(**cutting)
    masks: list[Tensor | None] = []
    for encoder in (run.model, run.model.teacher):
        for layer in encoder.encoder.layers:
            layer.attention.register_forward_pre_hook(lambda _, inputs: masks.append(inputs[1]))
    sample = run.batch(indices=[3, 4, 5])
    run.criterion(run.model, sample)
    assert len(masks) == 5 and all((mask is None) != bool(cutting) for mask in masks)
    for mask in filter(torch.is_tensor, masks):
        assert torch.equal(mask[:, 0, 0], sample["net_input"]["src_tokens"].ne(1))
