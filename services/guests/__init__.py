"""Guest models: which there are, whether their answers are usable, and merging them with ours."""
