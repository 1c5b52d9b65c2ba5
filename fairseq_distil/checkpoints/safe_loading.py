"""Checkpoints of fairseq, whose content is not trusted: weights, and settings that no one has to believe."""

import argparse
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from fairseq_distil.checkpoints.checked_loading import load_checked
from fairseq_distil.checkpoints.load_errors import explain_load_error
from fairseq_distil.checkpoints.tensor_check import require_held, require_held_optimizer_state
from fairseq_distil.checkpoints.training_state import require_training_state
from fairseq_distil.errors import UserError, naming

MOST_SETTINGS = 20_000
"""fairseq's own configuration has about 500."""
INTERPOLATION = "${"
PLAIN = str | bool | int | float


def load_safely(path: Path | str, arg_overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """What fairseq's ``load_checkpoint_to_cpu`` reads: the parts that it needs are there, and of their types.

    Args:
        path: of the checkpoint
        arg_overrides: settings to change

    Raises:
        FileNotFoundError: there is no such file
        UserError: it is damaged, unsafe, or no checkpoint of fairseq
    """
    state = load_checked(path)
    with naming(path):
        _require_parts(state)
    try:
        state = _upgraded(state, arg_overrides or {})
    except Exception as error:  # fairseq raises almost anything
        raise UserError(f"{path}: {explain_load_error(error)}") from error
    with naming(path):
        require_training_state(state)
    if state["extra_state"].get("train_iterator", ()) is None:
        del state["extra_state"]["train_iterator"]  # a position that is missing is told
    return state


def _upgraded(state: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """As fairseq does it, for it does not take what is read already."""
    if state.get("args") is not None:
        vars(state["args"]).update(overrides)
    if state.get("cfg") is not None:
        state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
        if overrides:
            checkpoint_utils.overwrite_args_by_name(state["cfg"], overrides)
    return checkpoint_utils._upgrade_state_dict(state)


def _require_parts(state: Any) -> None:
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise UserError("not a fairseq checkpoint: it has no model")
    require_held(state["model"])
    require_held(state.get("criterion") or {})
    require_held_optimizer_state(state.get("last_optimizer_state"))
    for name, type_ in (("args", argparse.Namespace), ("cfg", dict), ("task_state", dict)):
        if not isinstance(state.get(name), type_ | None):
            raise UserError(f"not a fairseq checkpoint: its {name} is {_kind(state[name])}, expected {type_.__name__}")
    _require_task_state(state.get("task_state") or {})
    for name in ("args", "cfg"):
        _require_settings(state.get(name), name)


def _require_task_state(state: dict[str, Any]) -> None:
    """What the tasks of this project put there."""
    classification = state.get("classification") or {}
    if not isinstance(classification, dict) or not isinstance(classification.get("problem_type"), str | None):
        raise UserError("not a fairseq checkpoint: its classification is not that of a task of this project")
    for name, texts in (
        ("dictionary_symbols", state.get("dictionary_symbols")),
        ("labels", classification.get("labels")),
    ):
        if texts is not None and not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise UserError(f"not a fairseq checkpoint: its {name} are not a list of texts")


def _require_settings(settings: Any, name: str) -> None:
    """Refuse what grows while it is read: a part that is in many places, and text that is to be worked out.

    In a pickle, as in YAML, each level can hold the one below it twice: thirty levels become a billion settings.
    """
    found, unread = 0, [settings]
    while unread:
        value = unread.pop()
        found += 1
        if found > MOST_SETTINGS:
            raise UserError(f"its {name} holds more than {MOST_SETTINGS:,} settings, which fairseq has no use for")
        if isinstance(value, argparse.Namespace):
            unread += vars(value).values()
        elif isinstance(value, dict):
            unread += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            unread += value
        elif not isinstance(value, PLAIN | None):
            raise UserError(f"its {name} holds a {_kind(value)}, which is no setting")
        elif isinstance(value, str) and INTERPOLATION in value:
            raise UserError(f"its {name} holds {value!r}, which would be worked out; fairseq stores what comes of it")


def _kind(value: Any) -> str:
    return type(value).__name__
