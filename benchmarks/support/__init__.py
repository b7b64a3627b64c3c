"""A demo to measure, generated requests, and reports."""
