"""What the tasks of this project have in common."""

from .autocast_steps import AutocastSteps
from .dictionary_state import DictionaryState
from .early_stopping_state import EarlyStoppingState
from .elastic_resume import ElasticResume
from .length_limit import LengthLimit
from .numerical_guard import NumericalGuard
from .stoppable_validation import StoppableValidation


class ProjectTask(
    NumericalGuard,
    StoppableValidation,
    AutocastSteps,
    EarlyStoppingState,
    DictionaryState,
    ElasticResume,
    LengthLimit,
):
    """Comes before a fairseq task among the bases of a class; its parts say what they need of the class."""
