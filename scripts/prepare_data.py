#!/usr/bin/env python
"""Text to the binary data that fairseq trains from, with dict.txt and the tokeniser's own files.

python scripts/prepare_data.py --input train.txt.xz --valid valid.txt \
    --tokenizer sentencepiece --vocab-size 8000 --output data-bin/mine
python scripts/prepare_data.py --input a.txt b.txt.gz --tokenizer wordpiece --vocab vocab.txt --output data-bin/bert
"""

import sys

from fairseq_distil.data.prepare_command import main

if __name__ == "__main__":
    sys.exit(main())
