"""What is written as `infer.py` beside an exported model, by its format."""
