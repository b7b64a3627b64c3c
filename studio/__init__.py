"""Everything that knows Label Studio: client, image loading, label config, one file a control tag."""
