"""Formats of image files by name; the code stands in `svdflow.images.formats`."""
