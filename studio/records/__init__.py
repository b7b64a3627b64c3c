"""The records that Label Studio's JSON is read into, for webhooks, /predict, /setup and sync."""
