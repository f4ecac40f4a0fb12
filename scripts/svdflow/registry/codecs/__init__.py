"""Codecs that archives are compared with, by name; the code stands in `svdflow.codec`."""
