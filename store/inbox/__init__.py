"""The inbox: webhooks that were acknowledged and are to be applied to the database."""
