"""SQuAD's files to a directory that the task ``question_answering`` reads."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from fairseq_distil.data.atomic_directory import atomic_directory, refuse_existing
from fairseq_distil.data.dictionary_check import load_shared_dictionary
from fairseq_distil.data.squad.encoding import EncodedParagraphs, ParagraphEncoder
from fairseq_distil.data.squad.official import Paragraph, read_squad
from fairseq_distil.data.squad.split import SplitCounts, write_split
from fairseq_distil.data.squad.windows import WindowSizes
from fairseq_distil.data.tokenizers import Tokenizer, load_tokenizer
from fairseq_distil.data.worker_pool import ordered_map
from fairseq_distil.errors import UserError

PARAGRAPHS_AT_A_TIME = 64
TRAIN = "train"


def prepare_squad(
    files: Mapping[str, Path], data: Path, output: Path, sizes: WindowSizes, workers: int = 1
) -> list[str]:
    """Write the output directory, all of it or nothing.

    Args:
        files: official JSON files by the name of their split; of ``train``, questions whose answer is not where
            ``answer_start`` says are left out
        data: directory with the ``dict.txt`` and the tokeniser of the pre-training
        output: directory to write, which must not exist
        sizes: of the windows
        workers: processes; the output does not depend on it

    Returns:
        lines that sum up what was written

    Raises:
        UserError: something is wrong with a file, the data or the output
    """
    start = time.monotonic()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism
    refuse_existing(output)
    tokenizer = load_tokenizer(data)
    dictionary = load_shared_dictionary([str(data)])
    paragraphs = {split: read_squad(path) for split, path in files.items()}
    summary = []
    with atomic_directory(output) as directory:
        for split, split_paragraphs in paragraphs.items():
            encoder = ParagraphEncoder(tokenizer, dictionary, sizes, keep_unfound=split != TRAIN)
            parts = _encoded(encoder, split_paragraphs, split, workers)
            counts = write_split(directory / split, encoder.dtype, split_paragraphs, parts)
            if counts.windows == 0:
                raise UserError(
                    f"{files[split]}: none of its {counts.questions:,} questions has its answer at answer_start"
                )
            summary.append(_summary(split, counts))
        _copy_vocabulary(data, tokenizer, directory)
    return [*summary, f"{output}: {time.monotonic() - start:.1f} seconds"]


def _encoded(
    encoder: ParagraphEncoder, paragraphs: Sequence[Paragraph], split: str, workers: int
) -> Iterator[EncodedParagraphs]:
    total = sum(len(paragraph.questions) for paragraph in paragraphs)
    with (
        ordered_map(encoder, workers) as encode,
        tqdm(total=total, desc=split, unit=" questions", unit_scale=True, disable=None) as bar,
    ):
        for part in encode(_in_parts(paragraphs)):
            bar.update(part.questions)
            yield part


def _in_parts(paragraphs: Sequence[Paragraph]) -> Iterator[Sequence[Paragraph]]:
    for first in range(0, len(paragraphs), PARAGRAPHS_AT_A_TIME):
        yield paragraphs[first : first + PARAGRAPHS_AT_A_TIME]


def _copy_vocabulary(data: Path, tokenizer: Tokenizer, directory: Path) -> None:
    shutil.copyfile(data / "dict.txt", directory / "dict.txt")
    tokenizer.save(directory)


def _summary(split: str, counts: SplitCounts) -> str:
    kept = "left out" if split == TRAIN else "kept for evaluation, without a loss"
    unfound = f"; {counts.unfound:,} with an answer that is not at answer_start, {kept}" if counts.unfound else ""
    return (
        f"{split}: {counts.questions:,} questions, {counts.windows:,} windows of at most {counts.longest} tokens, "
        f"{counts.tokens:,} tokens{unfound}"
    )
