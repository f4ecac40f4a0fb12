"""Formats of matrix files, one file each, with what they share."""
