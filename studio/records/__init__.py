"""Records that Label Studio's JSON is parsed into: from webhooks, /predict, /setup and the API."""
