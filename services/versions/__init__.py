"""Model versions: rollback, promotion, training on request."""
