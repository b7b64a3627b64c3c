"""The network that is fine-tuned: layers, adapters, losses."""
