"""Measures embedding and fine-tuning on a GPU: the jobs through RQ, and bare loops beside them."""
