"""The READMEs say what is so: commands, options, files and links are real."""

import re
import shlex
import shutil
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("examples/*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
ROOMS = ("docs", "examples", "fairseq_distil", "scripts", "tests")

every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))


def code_blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", readme.read_text(encoding="utf-8"))


def commands(readme: Path) -> Iterator[list[str]]:
    """Words of each command of the shell blocks, and of those that stand in a line of text."""
    text = readme.read_text(encoding="utf-8")
    blocks = "\n".join(code_blocks(readme, "bash")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`((?:bash|python|fairseq-[a-z-]+) [^`]+)`", re.sub(r"(?ms)^```.*?^```$", "", text))
    for line in [*blocks, *inline]:
        if words := shlex.split(line, comments=True):
            yield words


def commands_of(program: str) -> list[list[str]]:
    """Arguments of every command of a program, in all READMEs."""
    found = [words[1:] for readme in READMES for words in commands(readme) if words[0] == program]
    assert found, f"no README shows {program}"
    return found


@pytest.fixture(scope="module")
def options_of_script(run_script: Callable) -> Callable[[str], frozenset[str]]:
    """Options that the help of a Python script lists, or the comment at the head of a shell script."""

    @cache
    def read_options(script: str) -> frozenset[str]:
        if script.endswith(".py"):
            result = run_script(ROOT / script, "--help")
            assert result.returncode == 0, result.stderr
            described = result.stdout
        else:
            described = re.match(r"(#.*\n)+", (ROOT / script).read_text(encoding="utf-8"))[0]
        return frozenset(re.findall(r"--[a-z][a-z0-9-]*", described))

    return read_options


def parse_training_command(arguments: list[str]) -> ArgumentParser:
    """Parse options of fairseq-train as it does, into its typed configuration; returns the parser."""
    parser = options.get_training_parser()
    namespace = options.parse_args_and_arch(parser, input_args=arguments)
    with warnings.catch_warnings(action="ignore"):  # fairseq calls Hydra by names of older versions
        convert_namespace_to_omegaconf(namespace)
    return parser


@pytest.mark.parametrize("arguments", commands_of("fairseq-train"), ids=lambda words: words[words.index("--arch") + 1])
def test_fairseq_train(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["fairseq-train", *arguments])  # where fairseq looks for --user-dir first
    parse_training_command(arguments)


def test_a_wrong_option_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = commands_of("fairseq-train")[0]
    monkeypatch.setattr(sys, "argv", ["fairseq-train", *arguments])
    for wrong in (["--no-such-option"], ["--arch", "no_such_architecture"], ["--max-update", "many"]):
        with pytest.raises(SystemExit):
            parse_training_command([*arguments, *wrong])


@pytest.mark.parametrize("arguments", commands_of("fairseq-hydra-train"), ids=lambda words: words[3])
def test_fairseq_hydra_train(compose_recipe: Callable, arguments: list[str]) -> None:
    assert [arguments[0], arguments[2]] == ["--config-dir", "--config-name"]
    compose_recipe(ROOT / arguments[1] / f"{arguments[3]}.yaml", *arguments[4:])


@every_readme
def test_scripts_know_their_options(options_of_script: Callable, readme: Path) -> None:
    for words in commands(readme):
        if words[0] in ("bash", "python"):
            used = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
            assert used <= options_of_script(words[1]), words


@every_readme
def test_alternatives_in_comments_are_options_of_their_script(options_of_script: Callable, readme: Path) -> None:
    """Such as ``#   or: --tokenizer wordpiece`` below the command that takes it."""
    for block in code_blocks(readme, "bash"):
        alternatives = re.findall(r"(?m)^#\s+or: (.*)$", block)
        used = set(re.findall(r"--[a-z-]+", " ".join(alternatives)))
        assert used <= options_of_script("scripts/prepare_data.py")


@every_readme
def test_options_in_the_text_exist(options_of_script: Callable, readme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = re.sub(r"(?ms)^```.*?^```$", "", readme.read_text(encoding="utf-8"))
    named = {option for code in re.findall(r"`([^`]+)`", text) for option in re.findall(r"--[a-z][a-z0-9-]*", code)}
    parsers = [options.get_validation_parser()]
    for arguments in commands_of("fairseq-train"):
        monkeypatch.setattr(sys, "argv", ["fairseq-train", *arguments])
        parsers.append(parse_training_command(arguments))
    known = {option for parser in parsers for option in parser._option_string_actions}
    scripts = {words[1] for words in commands(readme) if words[0] in ("bash", "python")}
    scripts |= {word for words in commands(readme) if words[0] == "torchrun" for word in words if word.endswith(".py")}
    known = known.union(*map(options_of_script, scripts))
    assert named - known == set()


@every_readme
def test_named_files_exist(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    paths = re.findall(rf"(?<![\w./-])((?:{'|'.join(ROOMS)})/[\w/.-]*\w)", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@every_readme
def test_links_resolve(readme: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", readme.read_text(encoding="utf-8"))
    relative = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in relative if not (readme.parent / target).exists()] == []


def test_python_example(
    teacher_path: str, data_with_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs, beside a checkpoint and data at the places that the commands before it write to."""
    (example,) = code_blocks(ROOT / "README.md", "python")
    (tmp_path / "checkpoints" / "student").mkdir(parents=True)
    shutil.copy(teacher_path, tmp_path / "checkpoints" / "student" / "checkpoint_best.pt")
    shutil.copytree(data_with_tokenizer, tmp_path / "data-bin" / "corpus")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(example, names)  # noqa: S102
    *_, features = example.strip().splitlines()
    result = eval(features.split("#")[0], names)  # noqa: S307
    assert isinstance(result, torch.Tensor) and result.dim() == 3 and "(1, length, width)" in features
