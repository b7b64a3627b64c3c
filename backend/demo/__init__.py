"""The demo: a real Label Studio, sample images, and a scripted annotator."""
