"""Solvers and penalty searches that heads are fitted with."""
