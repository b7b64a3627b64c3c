"""Cross-validation, metrics and paired tests of heads."""
