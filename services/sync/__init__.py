"""What Label Studio sends and what is pulled from it, made into records of the store."""
