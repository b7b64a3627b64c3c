"""Kinds of target: the meaning of a label's value, and how it is learned and predicted."""
