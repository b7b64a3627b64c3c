"""Model versions: rollback, promotion, and training that people ask for."""
