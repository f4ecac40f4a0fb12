"""What people do with a singular value decomposition: analyses on top of the engine."""
