"""From tables of labelled texts, or pairs of texts, to what fairseq's task ``sentence_prediction`` reads."""
