"""An encoder from a checkpoint of this plugin, or from what can be converted to one."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.file_io import PathManager
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, float16

from fairseq_distil.checkpoints.checked_loading import load_checked
from fairseq_distil.checkpoints.import_checkpoint import piece_names
from fairseq_distil.checkpoints.import_fairseq_roberta import import_fairseq_roberta, is_fairseq_roberta
from fairseq_distil.checkpoints.import_transformers import import_transformers
from fairseq_distil.checkpoints.key_maps import WORD_EMBEDDINGS
from fairseq_distil.checkpoints.safe_loading import load_safely
from fairseq_distil.checkpoints.tensor_check import require_held
from fairseq_distil.checkpoints.transformers_directory import CONFIG_FILE
from fairseq_distil.checkpoints.weight_shapes import require_shapes
from fairseq_distil.data.dictionary_check import require_same_symbols, symbols_beside
from fairseq_distil.errors import UserError, naming
from fairseq_distil.modules import EncoderConfig

from .distil_encoder_config import DistilEncoderConfig, encoder_config

_load_remotely = checkpoint_utils.load_checkpoint_to_cpu
_load_averages_remotely = checkpoint_utils.load_ema_from_checkpoint
ENCODER_NAMES = ("distil_encoder", "teacher_student", "distilbert")
UNKNOWN = "unknown"
TASK_NAMES = ("distil_masked_lm", "question_answering", "sentence_prediction")


class StoredEncoder(NamedTuple):
    """What a checkpoint holds of an encoder."""

    config: EncoderConfig
    weights: Dict[str, Tensor]
    """state dict of a ``distil_encoder``, heads included"""
    checkpoint: Dict[str, Any]
    """the whole checkpoint, as fairseq reads it"""


def read_encoder(
    path: str, dictionary: Dictionary, data: Optional[str] = None, role: str = "pretrained"
) -> StoredEncoder:
    """Read the encoder that the checkpoint at ``path`` holds.

    Args:
        path: checkpoint of a ``distil_encoder``, or of a ``teacher_student``, whose student it is; or a fairseq
            RoBERTa with its ``dict.txt``, or a directory of transformers
        dictionary: the data's; it must be the encoder's
        data: the data's directory, for the tokeniser
        role: what messages call the encoder

    Raises:
        UserError: the file is missing, damaged or unsafe, holds another kind of model, or the dictionaries differ
    """
    subject = f"{role} {path}"
    state = _read(path, dictionary, data, role)
    with naming(subject):
        config = encoder_config(_model_config(state), dictionary)
    symbols = (state.get("task_state") or {}).get("dictionary_symbols") or symbols_beside(path)
    _require_dictionary(subject, state["model"], symbols, dictionary)
    with naming(f"{subject}: its weights do not fit its own configuration"):
        require_shapes(state["model"], config)
    return StoredEncoder(config, state["model"], state)


def _read(path: str, dictionary: Dictionary, data: Optional[str], role: str) -> Dict[str, Any]:
    is_directory = os.path.isfile(os.path.join(path, CONFIG_FILE))
    state = {} if is_directory else read_checkpoint(path, role)
    try:
        if is_directory:
            state = import_transformers(Path(path), dictionary.symbols, piece_names(Path(data) if data else None))
        elif is_fairseq_roberta(state):
            state = import_fairseq_roberta(path, state, dictionary.symbols)
        else:
            return state
    except UserError as error:  # it names the file at fault
        raise UserError(f"{role} {error}") from error
    return {**state, "cfg": OmegaConf.create(state["cfg"])}


def read_checkpoint(path: str, role: str) -> Dict[str, Any]:
    if not os.path.isfile(path):
        raise UserError(
            f"{role} {path}: no such file; give --{role} (model.{role}) the path of a checkpoint, or "
            f"of a directory of transformers with its {CONFIG_FILE}"
        )
    try:
        return load_safely(path)
    except UserError as error:  # it names the file at fault
        raise UserError(f"{role} {error}") from error


def make_checkpoint_loading_safe() -> None:
    """Replace the function by which fairseq reads every checkpoint: for its commands, its hub, and resumed training.

    And the one that reads it for its averages of weights, by ``torch.load``.
    """
    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    checkpoint_utils.load_ema_from_checkpoint = load_ema_from_checkpoint


def load_checkpoint_to_cpu(
    path: str, arg_overrides: Optional[Dict[str, Any]] = None, load_on_all_ranks: bool = False
) -> Dict[str, Any]:
    """What fairseq's function of this name gives, of files that are on this machine.

    Raises:
        UserError: the file is damaged or unsafe, or holds an encoder whose weights are not those of its settings
    """
    if PathManager.path_requires_pathmanager(path):
        return _load_remotely(path, arg_overrides, load_on_all_ranks)
    state = load_safely(path, arg_overrides)
    if _name_of(state, "model").startswith(ENCODER_NAMES):
        with naming(f"{path}: its weights do not fit its own configuration"):
            require_shapes(state["model"], _config_of_any_vocabulary(state))
    return state


def load_ema_from_checkpoint(fpath: str) -> Dict[str, Any]:
    """What fairseq's function of this name gives, of files on this machine: averages of weights in the model's place.

    Raises:
        UserError: the file is missing, damaged or unsafe, or has no averages
    """
    if PathManager.path_requires_pathmanager(fpath):
        return _load_averages_remotely(fpath)
    if not os.path.isfile(fpath):
        raise UserError(f"{fpath}: no such file; give a checkpoint of a run with --store-ema")
    state = load_checked(fpath)
    extra = state.get("extra_state") if isinstance(state, dict) else None
    averages = extra.get("ema") if isinstance(extra, dict) else None
    with naming(fpath):
        if not averages:
            raise UserError("has no averages of weights (extra_state.ema); give a checkpoint of a run with --store-ema")
        require_held(averages)
    copies = {name: tensor.float() if tensor.dtype == float16 else tensor.clone() for name, tensor in averages.items()}
    return {**state, "model": copies}


def _config_of_any_vocabulary(state: Dict[str, Any]) -> EncoderConfig:
    words = state["model"].get(WORD_EMBEDDINGS)
    rows = 0 if words is None or words.ndim == 0 else len(words)
    config = encoder_config(_model_config(state), Dictionary())
    try:
        return replace(config, vocabulary_size=rows)
    except ValueError as error:
        raise UserError(str(error)) from error


def _name_of(state: Dict[str, Any], part: str) -> str:
    try:
        cfg = (state.get("cfg") or {}).get(part)
        return str(getattr(cfg, "_name", None) or UNKNOWN)  # a Namespace, of models without a configuration class
    except OmegaConfBaseException:
        return UNKNOWN


def require_known_task(path: str, state: Dict[str, Any]) -> None:
    """Check that the task of a checkpoint reads its data as those of this project do; others read what settings name.

    Raises:
        UserError: it is another
    """
    name = UNKNOWN if state.get("args") else _name_of(state, "task")  # a Namespace, which fairseq prefers
    if name not in TASK_NAMES:
        raise UserError(f"{path}: is of the task {name}, expected one of {', '.join(TASK_NAMES)}")


def _model_config(state: Dict[str, Any]) -> DistilEncoderConfig:
    name = _name_of(state, "model")
    if not name.startswith(ENCODER_NAMES):
        raise UserError(f"holds a model of kind {name}, expected a distil_encoder")
    cfg = state["cfg"]["model"]
    try:
        known = {key: cfg[key] for key in DistilEncoderConfig.__dataclass_fields__ if key in cfg}
        return OmegaConf.merge(OmegaConf.structured(DistilEncoderConfig), known)
    except (OmegaConfBaseException, OverflowError) as error:
        raise UserError(f"its configuration is not an encoder's: {str(error).splitlines()[0]}") from error


def _require_dictionary(
    subject: str, weights: Dict[str, Any], symbols: Optional[List[str]], dictionary: Dictionary
) -> None:
    if symbols is not None:
        require_same_symbols(subject, symbols, "the data's dict.txt", dictionary.symbols)
    word_embeddings = weights.get(WORD_EMBEDDINGS)
    if word_embeddings is not None and word_embeddings.ndim and len(word_embeddings) != len(dictionary):
        raise UserError(
            f"{subject}: its vocabulary has {len(word_embeddings):,} symbols, the data's dictionary "
            f"{len(dictionary):,} (specials included); prepare the data with its tokeniser"
        )
