from typing import Any

import torch

from fairseq_distil.evaluation.latency import median_latencies


def test_models_take_turns_on_one_full_sequence(deep_run: Any, shallow_run: Any) -> None:
    calls: list[tuple[str, torch.Tensor]] = []
    models = {"deep": deep_run.model, "shallow": shallow_run.model}
    hooks = [
        model.encoder.register_forward_hook(lambda module, inputs, output, name=name: calls.append((name, inputs[0])))
        for name, model in models.items()
    ]
    latencies = median_latencies(list(models.values()), length=17, rounds=4)
    for hook in hooks:
        hook.remove()
    assert len(latencies) == 2 and all(seconds > 0 for seconds in latencies)
    assert [name for name, _ in calls] == ["deep", "shallow"] * (3 + 4)
    assert {tuple(tokens.shape) for _, tokens in calls} == {(1, 17)}
    assert calls[0][1].min() == 4  # ordinary symbols, beyond the special ones
    assert calls[0][1].max() < 46
