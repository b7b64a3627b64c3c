"""The `infer.py` of an exported model, one module a format."""
