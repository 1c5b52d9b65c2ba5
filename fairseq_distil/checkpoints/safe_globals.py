"""Types that torch's safe loading accepts besides its own: those of plain data that fairseq stores and broadcasts."""

import argparse
import collections
import typing

import torch
from fairseq.distributed.utils import _TensorPlaceholder
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

CONFIGURATION = [DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode, typing.Any]
BUILT_IN = [dict, list, int, collections.defaultdict]


def accept_fairseqs_checkpoints() -> None:
    """Let ``torch.load`` read what fairseq writes, to files and to other workers.

    Parts of the configuration are stored as Namespaces. Resuming with several workers, the first reads the checkpoint,
    makes a configuration object of its settings, and sends it to the others, with placeholders for its tensors.
    """
    torch.serialization.add_safe_globals([argparse.Namespace, *CONFIGURATION, *BUILT_IN, _TensorPlaceholder])
