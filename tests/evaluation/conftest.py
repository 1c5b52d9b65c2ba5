"""Two tiny encoders, whose first choices differ, and their checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def encoder_run(setup_run: Callable) -> Callable[..., Any]:
    """An encoder in evaluation mode, with first weights so large that its choices depend on its input."""

    def setup(layers: int, initializer_range: float, **model: Any) -> Any:
        sizes = {"encoder_layers": layers, "encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 17}
        run = setup_run({"_name": "distil_encoder", "initializer_range": initializer_range, **sizes, **model})
        run.model.eval()
        return run

    return setup


@pytest.fixture(scope="session")
def deep_run(encoder_run: Callable) -> Any:
    return encoder_run(layers=3, initializer_range=0.5)


@pytest.fixture(scope="session")
def shallow_run(encoder_run: Callable) -> Any:
    return encoder_run(layers=1, initializer_range=0.7)


@pytest.fixture(scope="session")
def checkpoints(deep_run: Any, shallow_run: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("checkpoints")
    runs = {"deep": deep_run, "shallow": shallow_run}
    return {name: Path(run.save_checkpoint(directory / f"{name}.pt")) for name, run in runs.items()}
