"""Everything that knows Label Studio: client, images, label config, one file a control tag."""
