"""Question answering: the official files of SQuAD v1.1, cut into windows that an encoder takes."""
