"""How the lines of binarised text are cut into samples."""

from fairseq.data import Dictionary, FairseqDataset, PrependTokenDataset, TokenBlockDataset, data_utils
from fairseq.data.shorten_dataset import maybe_shorten_dataset
from omegaconf import DictConfig


def load_token_blocks(
    path: str, split: str, cfg: DictConfig, dictionary: Dictionary, combine: bool = False
) -> FairseqDataset:
    """Samples of at most ``cfg.tokens_per_sample`` tokens, each of which begins with ``<s>``.

    fairseq's own masked-LM task shortens lines without leaving room for the ``<s>``, and its cutting into single
    lines fails with numpy 2; that cutting leaves the lines as they are.

    Args:
        path: binarised split without its ending
        split: name of the split
        cfg: of the task: ``sample_break_mode``, ``tokens_per_sample``, and how lines are shortened
        dictionary: the data's
        combine: whether to append the splits ``path1``, ``path2``, ...

    Returns:
        A dataset of token ids ``(length,)``.
    """
    length = cfg.tokens_per_sample - 1
    # Left to find out the kind of the data, fairseq would rather read a text of this name, ids and all.
    lines = data_utils.load_indexed_dataset(path, dictionary, "mmap", combine)
    blocks = maybe_shorten_dataset(lines, split, cfg.shorten_data_split_list, cfg.shorten_method, length, cfg.seed)
    break_mode = str(cfg.sample_break_mode)
    if break_mode != "eos":
        blocks = TokenBlockDataset(
            blocks, blocks.sizes, length, pad=dictionary.pad(), eos=dictionary.eos(), break_mode=break_mode
        )
    return PrependTokenDataset(blocks, dictionary.bos())
