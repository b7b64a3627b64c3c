"""The fine-tuned network: trained layers, adapters, heads, losses."""
