"""What a run needs beside fairseq's training loop, to be stopped and started again."""
