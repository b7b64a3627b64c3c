"""The calls to Label Studio, by what they are about; `studio.client.StudioClient` joins them."""
