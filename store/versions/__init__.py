"""Model versions, with their advice, label reviews, metrics and backbones."""
