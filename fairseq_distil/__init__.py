"""DistilBERT for fairseq: registered models, tasks and criterions that distil a BERT-style encoder.

Use it with ``--user-dir fairseq_distil``, or import it.
"""

import logging

# Importing fairseq, its text-to-speech task recommends a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from . import criterions, models, optim, tasks  # noqa: E402
from .checkpoints.atomic_saving import make_checkpoints_atomic  # noqa: E402
from .checkpoints.safe_globals import accept_fairseqs_checkpoints  # noqa: E402
from .cpu_workers import let_pytorch_ddp_train_on_cpus  # noqa: E402
from .errors import UserError, show_user_errors_in_one_line  # noqa: E402
from .models.encoder_loading import make_checkpoint_loading_safe  # noqa: E402
from .models.teacherless_loading import let_students_load_without_teacher  # noqa: E402
from .optim.plateau_state import make_plateaus_survive  # noqa: E402
from .optim.state_check import make_optimizer_loading_safe  # noqa: E402
from .tasks.sentence_data import make_sentence_data_safe  # noqa: E402
from .tasks.stored_criterion import let_tasks_know_stored_criterions  # noqa: E402
from .training.curve_writing import let_training_outlive_its_curves  # noqa: E402
from .training.fetching_threads import end_fetching_threads_at_exit  # noqa: E402
from .training.resuming import make_training_survive  # noqa: E402
from .version import __version__  # noqa: E402

accept_fairseqs_checkpoints()
make_checkpoints_atomic()
make_training_survive()
make_plateaus_survive()
end_fetching_threads_at_exit()
let_training_outlive_its_curves()
let_pytorch_ddp_train_on_cpus()
make_checkpoint_loading_safe()
let_students_load_without_teacher()
make_sentence_data_safe()
let_tasks_know_stored_criterions()
make_optimizer_loading_safe()
show_user_errors_in_one_line()

__all__ = ["UserError", "__version__", "criterions", "models", "optim", "tasks"]
