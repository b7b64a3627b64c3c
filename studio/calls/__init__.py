"""Calls to Label Studio, one class a subject; `studio.client.StudioClient` inherits from all."""
