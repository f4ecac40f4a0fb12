"""Formats of image files, one file each, with what they share."""
