"""Which layers of student and teacher are compared."""

import re

PAIR = re.compile(r"(\d+):(\d+)", re.ASCII)
UNIFORM, LAST = "uniform", "last"


def parse_layer_pairs(text: str, student_layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """Read pairs such as ``"3:6,6:12"``: student layer and teacher layer, counted from 1; 0 are the embeddings.

    ``"uniform"`` pairs every layer of the student with the teacher's layer at the same part of its depth, ``"last"``
    the last two.

    Raises:
        ValueError: the text is no such list, or names a layer that there is not; or it is ``"uniform"`` for a student
            that is deeper than its teacher, of which several layers would have the same, or the embeddings
    """
    if text == UNIFORM:
        if student_layers > teacher_layers:
            raise ValueError(
                f"{text!r} is for students that are no deeper than their teacher, but this one has {student_layers} "
                f"layers, and the teacher {teacher_layers}; name pairs, such as '{student_layers}:{teacher_layers}'"
            )
        return [(layer, round(layer * teacher_layers / student_layers)) for layer in range(1, student_layers + 1)]
    if text == LAST:
        return [(student_layers, teacher_layers)]
    matches = [PAIR.fullmatch(entry) for entry in text.replace(" ", "").split(",")]
    if not all(matches):
        raise ValueError(f"{text!r} is neither {UNIFORM!r} nor {LAST!r} nor a list of pairs such as '3:6,6:12'")
    pairs = [(int(match[1]), int(match[2])) for match in matches]
    for role, highest, layers in (
        ("student", max(student for student, _ in pairs), student_layers),
        ("teacher", max(teacher for _, teacher in pairs), teacher_layers),
    ):
        if highest > layers:
            raise ValueError(f"{text!r} names layer {highest} of the {role}, which has {layers}")
    if len(set(pairs)) < len(pairs):
        raise ValueError(f"{text!r} names a pair twice")
    return pairs
