"""Kinds of target: what a label's value is, and how it is learned and predicted."""
