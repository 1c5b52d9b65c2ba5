"""Where one sentence of English text ends and the next begins."""

import re

SENTENCE_BOUNDARY = re.compile(r"""(?<=[.!?])\s+(?=[A-Z"'(])""")
"""The space after a full stop, a question or an exclamation mark, before a capital letter, a quote or a bracket."""
