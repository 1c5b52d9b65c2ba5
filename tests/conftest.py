"""Tiny binarised data, runs set up from a configuration as fairseq-hydra-train does, and scripts as processes."""

import functools
import json
import random
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq import tasks
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults, hydra_init
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import fairseq_distil  # noqa: F401  registers the parts
from fairseq_distil.data.labelled.labels import ClassLabels, NumberLabels
from fairseq_distil.data.labelled.prepare import prepare_labelled
from fairseq_distil.data.labelled.table import Table
from fairseq_distil.data.squad.prepare import prepare_squad
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.data.tokenizers import WordPieceTokenizer

from .forked_processes import ForkingServer
from .run import Run

torch.set_num_threads(1)  # tiny tensors only lose by threads, much so on a busy machine

SYMBOLS = [f"word{index}" for index in range(41)]
TINY = {
    "encoder_embed_dim": 12,
    "encoder_attention_heads": 4,
    "encoder_ffn_embed_dim": 20,
    "max_positions": 19,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
MASKED_LM = {"_name": "masked_lm"}
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "vocab.tar.xz"
OPTIMIZATION = {"optimizer": {"_name": "adam"}, "lr_scheduler": {"_name": "fixed"}}


@pytest.fixture(scope="session")
def forking_server() -> Iterator[ForkingServer]:
    server = ForkingServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def run_script(forking_server: ForkingServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python script with arguments, in the repository or another ``folder``, until it ends."""
    return forking_server.run


@pytest.fixture(scope="session")
def random_lines() -> list[list[int]]:
    """Lines of 0 to 11 symbol ids of ``SYMBOLS``; empty ones separate documents."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(0, 12, (90,), generator=generator).tolist()
    return [torch.randint(4, 4 + len(SYMBOLS), (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture(scope="session")
def write_data() -> Callable[..., str]:
    """Writes binarised data with fairseq's own builder; returns the directory."""

    def write(directory: Path, splits: dict[str, list[list[int]]], symbols: list[str] = SYMBOLS) -> str:
        directory.mkdir()
        dictionary = Dictionary()
        for index, symbol in enumerate(symbols):
            dictionary.add_symbol(symbol, n=1 + index)
        dictionary.save(str(directory / "dict.txt"))
        for split, lines in splits.items():
            builder = MMapIndexedDatasetBuilder(str(directory / f"{split}.bin"), dtype=np.uint16)
            for line in lines:
                builder.add_item(torch.tensor([*line, dictionary.eos()]))
            builder.finalize(str(directory / f"{split}.idx"))
        return str(directory)

    return write


@pytest.fixture(scope="session")
def data(
    write_data: Callable[..., str], random_lines: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Directory of binarised data with the splits ``train`` and ``valid``."""
    return write_data(
        tmp_path_factory.mktemp("data") / "binarised", {"train": random_lines, "valid": random_lines[:30]}
    )


@pytest.fixture(scope="session")
def data_with_tokenizer(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the files of a WordPiece tokeniser of ``SYMBOLS``."""
    directory = tmp_path_factory.mktemp("with_tokenizer")
    vocabulary = directory / "pieces.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SYMBOLS]) + "\n")
    shutil.copytree(data, directory / "data")
    WordPieceTokenizer(vocabulary).save(directory / "data")
    return directory / "data"


@pytest.fixture(scope="session")
def sentence_data(data_with_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """Prepares pairs of texts; returns the settings of fairseq's task for them.

    The first word of a pair tells its class; where there are no classes, its number is half of its words'.
    """

    @functools.cache
    def make(*classes: str) -> dict:
        generator = random.Random(4)
        directory = tmp_path_factory.mktemp("sentences")
        labels = ClassLabels(classes) if classes else NumberLabels()
        tables = {}
        for split, rows in (("train", 64), ("valid", 23)):
            lines = ["one\ttwo\tlabel"]
            for _ in range(rows):
                label = generator.randrange(len(classes) or 2)
                words = [f"word{generator.randrange(20)}" for _ in range(generator.randint(1, 5))]
                text = " ".join([f"word{30 + label}", *words])
                lines.append(f"{text}\tword9 word8\t{classes[label] if classes else len(words) / 2}")
            path = directory / f"{split}.tsv"
            path.write_text("\n".join(lines) + "\n")
            tables[split] = Table(path, ("one", "two"), "label")
        prepare_labelled(tables, labels, data_with_tokenizer, directory / "data", max_tokens=19)
        task = {"_name": "sentence_prediction", "data": str(directory / "data")}
        return task | {"num_classes": labels.outputs, "init_token": 0}

    return make


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """RTE in the official layout, with texts of ``SYMBOLS``; the first word tells the class."""
    generator = random.Random(6)
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    for name, rows in (("train", 40), ("dev", 17)):
        lines = ["index\tsentence1\tsentence2\tlabel"]
        for index in range(rows):
            label = generator.random() < 0.4
            first = " ".join([f"word{30 + label}", *(f"word{generator.randrange(9)}" for _ in range(3))])
            lines.append(f"{index}\t{first}\tword9\t{('entailment', 'not_entailment')[label]}")
        (tmp_path / "glue" / "RTE" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "glue"


@pytest.fixture(scope="session")
def compose_recipe() -> Callable[..., DictConfig]:
    """Composes a recipe as fairseq-hydra-train does, with overrides; refuses what it does not know."""

    def compose_with_fairseqs_schema(recipe: Path, *overrides: str) -> DictConfig:
        hydra_init(recipe.stem)
        try:
            # fairseq-hydra-train names no version either; Hydra says so, and that it finds the schema by the name.
            with warnings.catch_warnings(action="ignore"), initialize_config_dir(str(recipe.parent.absolute())):
                cfg = compose(recipe.stem, list(overrides))
        finally:
            del ConfigStore.instance().repo[f"{recipe.stem}.yaml"]  # which others would get that name the recipe
        add_defaults(cfg)
        return cfg

    return compose_with_fairseqs_schema


@pytest.fixture(scope="session")
def setup_run(data: str) -> Callable[..., Run]:
    """Sets up task, model and criterion from the settings of each; ``model`` and ``criterion`` need a ``_name``.

    The task is ``distil_masked_lm`` on ``data`` unless its settings, with a ``_name``, say otherwise.
    """

    def setup(model: dict, criterion: dict = MASKED_LM, **task: Any) -> Run:
        torch.manual_seed(1)
        if "_name" not in task:
            task = {"_name": "distil_masked_lm", "data": data, "tokens_per_sample": 17} | task
        settings = {"task": task, "model": model, "criterion": criterion, "common": {"cpu": True}, **OPTIMIZATION}
        cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), settings)
        add_defaults(cfg)
        fairseq_task = tasks.setup_task(cfg.task)
        return Run(cfg, fairseq_task, fairseq_task.build_model(cfg.model), fairseq_task.build_criterion(cfg.criterion))

    return setup


@pytest.fixture(scope="session")
def teacher_run(setup_run: Callable[..., Run]) -> Run:
    """A tiny encoder of 3 layers, with fairseq's own ``masked_lm`` criterion."""
    return setup_run({"_name": "distil_encoder", "encoder_layers": 3, **TINY})


@pytest.fixture(scope="session")
def teacher_path(teacher_run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its checkpoint."""
    return teacher_run.save_checkpoint(tmp_path_factory.mktemp("teacher") / "teacher.pt")


@pytest.fixture(scope="session")
def published_vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with BERT's, GPT-2's and RoBERTa's vocabularies."""
    if not PUBLISHED.is_file():
        pytest.skip("needs ../shared/data/vocab.tar.xz, the published vocabularies, beside the repository")
    directory = tmp_path_factory.mktemp("published")
    subprocess.run(["tar", "-xf", PUBLISHED, "-C", directory], check=True)
    return directory / "vocab"


@pytest.fixture(scope="session")
def difficult_texts() -> list[str]:
    """Accents, composed and not, Chinese and Japanese, emoji, controls, odd white space, nothing."""
    return [
        "Ça déjà vu, naïve Ångström — ÉCOLE; I\u0307stanbul ẞtraße",
        "e\u0301te\u0301 combining",
        "中文和English混排。日本語のテキスト、한국어도",
        "emoji 😀👩\u200d👩\u200d👧 ok 👍🏽",
        "",
        "   \t ",
        "zero\u200bwidth soft\u00adhyphen bell\x07 nbsp\u00a0here ideographic\u3000space",
        "don't can't WE'LL 3.14 1,000,000 a_b-c/d@e.com $5 `x` ^ ~ |",
        "antidisestablishmentarianism " + "x" * 150 + " pneumonoultramicroscopic",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁne ①②③ Ⅷ ½",
    ]


@pytest.fixture(scope="session")
def squad_content() -> dict[str, Any]:
    """18 questions on 6 contexts of 14 words of ``SYMBOLS``, in the official layout, with answers of 1 to 3 words."""
    generator = random.Random(7)
    paragraphs = []
    for paragraph in range(6):
        words = generator.choices(SYMBOLS, k=14)
        context = "".join(word + generator.choice([" ", "  "]) for word in words).strip()
        begins = [sum(len(part) for part in re.findall(r"\S+|\s+", context)[: 2 * index]) for index in range(14)]
        qas = []
        for number in range(3):
            first = generator.randrange(12)
            last = first + generator.randrange(3)
            text = context[begins[first] : begins[last] + len(words[last])]
            question = " ".join(generator.choices(SYMBOLS, k=3))
            answers = [{"text": text, "answer_start": begins[first]}]
            qas.append({"id": f"q{paragraph}-{number}", "question": question, "answers": answers})
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "1.1", "data": [{"title": "all", "paragraphs": paragraphs}]}


@pytest.fixture(scope="session")
def squad_file(squad_content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("squad") / "squad.json"
    path.write_text(json.dumps(squad_content), encoding="utf-8")
    return path


@pytest.fixture
def squad(squad_file: Path, tmp_path: Path) -> Path:
    """The same in the official layout, of both splits alike."""
    directory = tmp_path / "SQuAD"
    directory.mkdir()
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        shutil.copy(squad_file, directory / name)
    return directory


@pytest.fixture(scope="session")
def squad_data(squad_file: Path, data_with_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions as prepared data, ``train`` and ``valid`` alike, in 36 windows of at most 16 tokens."""
    output = tmp_path_factory.mktemp("squad_data") / "squad"
    files = {"train": squad_file, "valid": squad_file}
    prepare_squad(files, data_with_tokenizer, output, WindowSizes(length=16, stride=5, question_length=3))
    return output
