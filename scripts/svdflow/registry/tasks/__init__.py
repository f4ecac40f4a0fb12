"""What a dataset can ask for, a module a task: its options and facts; the code stands in `svdflow.tasks`."""
