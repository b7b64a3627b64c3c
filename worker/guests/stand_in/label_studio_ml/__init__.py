"""Stands in for label-studio-ml where a guest's environment has none: the interface of 2.x."""
