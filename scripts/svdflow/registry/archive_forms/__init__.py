"""Forms of an archive, by name; the code stands in `svdflow.codec`."""
