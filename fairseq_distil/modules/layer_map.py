"""Which teacher layers a shallower student starts from."""

import re
from collections.abc import Mapping

from torch import Tensor

LAYER_KEY = re.compile(r"^encoder\.layers\.(\d+)\.(.+)$")


def default_layer_map(teacher_layers: int, student_layers: int) -> list[int]:
    """Evenly spaced teacher layers, the first and the last among them.

    For 12 -> 6 this is ``[0, 2, 4, 7, 9, 11]``, the published choice (Sanh et al., 2019, their released scripts).
    """
    if student_layers == 1:
        return [0]
    return [round(layer * (teacher_layers - 1) / (student_layers - 1)) for layer in range(student_layers)]


def parse_layer_map(text: str | None, teacher_layers: int, student_layers: int) -> list[int]:
    """Read a map such as ``"0,2,4,7,9,11"``; None or empty means :func:`default_layer_map`.

    Raises:
        ValueError: the student is deeper than the teacher, or the text is not one valid teacher layer for each
            student layer
    """
    if student_layers > teacher_layers:
        raise ValueError(f"a student of {student_layers} layers cannot start from a teacher of {teacher_layers} layers")
    if not text:
        return default_layer_map(teacher_layers, student_layers)
    entries = text.replace(" ", "").split(",")
    if len(entries) != student_layers or not all(entry.isdecimal() for entry in entries):
        raise ValueError(f"{text!r} is not a list of {student_layers} teacher layers, one for each student layer")
    layer_map = [int(entry) for entry in entries]
    if max(layer_map) >= teacher_layers:
        raise ValueError(
            f"{text!r} names layer {max(layer_map)}, but the teacher's layers are 0 to {teacher_layers - 1}"
        )
    return layer_map


def select_layers(teacher_state_dict: Mapping[str, Tensor], layer_map: list[int]) -> dict[str, Tensor]:
    """State dict of a student that has the teacher's embeddings and head, and its layers ``layer_map``.

    Args:
        teacher_state_dict: of a ``distil_encoder``
        layer_map: teacher layer for each student layer
    """
    state_dict = {key: tensor for key, tensor in teacher_state_dict.items() if not LAYER_KEY.match(key)}
    for student_layer, teacher_layer in enumerate(layer_map):
        for key, tensor in teacher_state_dict.items():
            match = LAYER_KEY.match(key)
            if match and int(match[1]) == teacher_layer:
                state_dict[f"encoder.layers.{student_layer}.{match[2]}"] = tensor
    return state_dict
