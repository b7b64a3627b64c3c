"""Converts Label Studio's webhooks and API answers into records of the store."""
