"""The dictionary in a task's checkpoints."""

from typing import Any, Dict

from fairseq_distil.data.dictionary_check import require_same_symbols


class DictionaryState:
    """Comes before a fairseq task among the bases of a class with a ``dictionary``, which its state holds."""

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Take over what a checkpoint says of its task.

        Raises:
            UserError: the checkpoint was trained with another dictionary
        """
        symbols = state_dict.get("dictionary_symbols", self.dictionary.symbols)
        require_same_symbols("the checkpoint", symbols, "the data's dict.txt", self.dictionary.symbols)
        super().load_state_dict(state_dict)
