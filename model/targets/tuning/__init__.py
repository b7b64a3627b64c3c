"""Losses of fine-tuning, one for each kind of target that has one."""
