"""The scripts `infer.py` of exported models, one for each format."""
