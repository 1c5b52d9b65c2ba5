"""Collect English text that is already on the machine: the docstrings of the installed Python packages.

    python examples/quickstart/collect_documentation.py --output text.txt

One paragraph a line, a blank line after each module. Code, tables, and paragraphs seen before are left out.
"""

import argparse
import ast
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

from tqdm import tqdm

CODE_MARKS = (">>>", "...", "---", "===", "~~~", "|", "+-", "#", "@", "::", "http")
FEWEST_WORDS = 8
WORD = re.compile(r"[A-Za-z][a-z]+[,.;:)]?$")


def source_files() -> list[Path]:
    """Python files of the standard library and of the installed packages, in a fixed order; tests left out."""
    folders = {Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))}
    files = {file for folder in folders for file in folder.rglob("*.py")}
    return sorted(file for file in files if not {"test", "tests", "testing", "_vendor"} & set(file.parts))


def paragraphs(docstring: str) -> Iterator[str]:
    """Paragraphs of prose in ``docstring``, each on one line."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        lines = [line.strip() for line in paragraph.splitlines()]
        words = " ".join(lines).split()
        is_code = any(line.startswith(CODE_MARKS) for line in lines)
        prose_words = sum(bool(WORD.match(word)) for word in words)
        prose = " ".join(words)
        if not is_code and prose.isprintable() and len(words) >= FEWEST_WORDS and prose_words >= 0.7 * len(words):
            yield prose


def prose_of(file: Path) -> list[str]:
    """Paragraphs of all docstrings of one file; none if it is not valid Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented))
    return [paragraph for docstring in docstrings if docstring for paragraph in paragraphs(docstring)]


def collect(output: Path, most_words: int | None) -> int:
    """Write the text to ``output``; return its words. Stops after about ``most_words``."""
    seen: set[str] = set()
    total_words = 0
    files = source_files()
    partial = output.with_name(output.name + ".partial")
    with open(partial, "w", encoding="utf-8") as text, Pool() as pool:
        progress = tqdm(pool.imap(prose_of, files, chunksize=32), total=len(files), unit=" files", desc="documentation")
        for found in progress:
            new = [paragraph for paragraph in dict.fromkeys(found) if paragraph not in seen]
            seen.update(new)
            if new:
                text.write("\n".join(new) + "\n\n")
            total_words += sum(paragraph.count(" ") + 1 for paragraph in new)
            if most_words is not None and total_words >= most_words:
                break
        pool.terminate()
    os.replace(partial, output)
    return total_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="text file to write")
    parser.add_argument("--most-words", type=int, help="stop after about so many words")
    arguments = parser.parse_args()
    if arguments.output.exists():
        print(f"error: {arguments.output} exists already; remove it or choose another --output", file=sys.stderr)
        sys.exit(2)
    print(f"{collect(arguments.output, arguments.most_words):,} words in {arguments.output}")


if __name__ == "__main__":
    main()
