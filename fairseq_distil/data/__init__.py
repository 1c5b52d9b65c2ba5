"""From text to masked batches: tokenisers, binarised data, masking and collation."""
