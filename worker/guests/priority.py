"""Priorities of requests to a guest: what an annotator waits for comes first."""

INTERACTIVE = 0  # a smart tool
ASKED = 1  # /predict
AHEAD = 2  # suggestions made before anybody asks
