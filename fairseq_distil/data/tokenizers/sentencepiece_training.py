"""Training a SentencePiece model from a stream of lines."""

import multiprocessing
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

import sentencepiece

from fairseq_distil.data.tokenizers.base import MASK
from fairseq_distil.data.worker_pool import detach_from_terminal
from fairseq_distil.errors import UserError

# The trainer skips sentences of more bytes than it is told, so longer lines reach it in parts.
MAX_PART_CHARACTERS = 4096
MAX_BYTES_PER_CHARACTER = 4


@dataclass(frozen=True)
class SentencePieceTraining:
    """How a model is trained.

    Args:
        vocabulary_size: symbols in all, the four special ones of fairseq and ``<mask>`` included
        model_type: ``unigram`` or ``bpe``
        character_coverage: share of the corpus' characters that get a piece; the rarest become ``<unk>``
        sample_lines: lines drawn at random from a longer corpus; 200,000 of 400 characters take 2 GB of memory
        seed: of that draw
    """

    vocabulary_size: int
    model_type: str = "unigram"
    character_coverage: float = 0.9995
    sample_lines: int = 200_000
    seed: int = 0

    def train(self, lines: Iterable[str], model: Path, announce: Callable[[int], None] | None = None) -> None:
        """Write a model trained on lines, which are read once, as a stream.

        The trainer cannot be interrupted, so it runs in a process of its own, which is ended with this one.

        Args:
            lines: text
            model: file to write
            announce: called, in that process, with the number of lines that were drawn, when training begins

        Raises:
            UserError: the corpus does not have as many pieces as asked for, or has too many characters for them
        """
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self._train_and_report, args=(lines, model, announce, sender), daemon=True)
        process.start()
        sender.close()
        try:
            failure = receiver.recv()
        except EOFError:
            failure = f"the trainer ended early; if memory ran out, lower the sample of {self.sample_lines} lines"
        finally:
            process.kill()
            process.join()
        if failure:
            raise UserError(self._explain(failure))

    def _train_and_report(
        self, lines: Iterable[str], model: Path, announce: Callable[[int], None] | None, sender: Connection
    ) -> None:
        detach_from_terminal()
        try:
            with model.open("wb") as file:
                sample = self._sample(lines)
                if announce:
                    announce(len(sample))
                self._train(sample, file)
        except Exception as error:
            sender.send(str(error) or type(error).__name__)
        else:
            sender.send("")

    def _train(self, sample: list[str], file: BinaryIO) -> None:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_in_parts(sample),
            model_writer=file,
            model_type=self.model_type,
            vocab_size=self.vocabulary_size,
            character_coverage=self.character_coverage,
            max_sentence_length=MAX_PART_CHARACTERS * MAX_BYTES_PER_CHARACTER,
            byte_fallback=False,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            control_symbols=[MASK],
            minloglevel=2,
        )

    def _sample(self, lines: Iterable[str]) -> list[str]:
        # The trainer can sample too, but from a seed that differs in every process. This is Vitter's algorithm R.
        generator = random.Random(self.seed)
        sample: list[str] = []
        for number, line in enumerate(lines):
            if number < self.sample_lines:
                sample.append(line)
            elif (place := generator.randrange(number + 1)) < self.sample_lines:
                sample[place] = line
        return sample

    def _explain(self, failure: str) -> str:
        size = self.vocabulary_size
        if too_large := re.search(r"set it to a value <= (\d+)", failure):
            return f"vocabulary size {size} is too large for this corpus; ask for {too_large[1]} or less"
        if too_small := re.search(r"smaller than required_chars. \d+ vs (\d+)", failure):
            return (
                f"vocabulary size {size} is too small for the characters of this corpus; "
                f"ask for {too_small[1]} or more, or lower the character coverage of {self.character_coverage}"
            )
        return f"training SentencePiece: {failure}"


def _in_parts(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        for start in range(0, len(line), MAX_PART_CHARACTERS):
            yield line[start : start + MAX_PART_CHARACTERS]
