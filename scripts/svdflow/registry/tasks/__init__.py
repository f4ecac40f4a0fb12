"""Tasks by name, and the options of each; the code stands in `svdflow.tasks`."""
