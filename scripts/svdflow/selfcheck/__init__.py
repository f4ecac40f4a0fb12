"""What examines this installation, not anyone's data: solvers, laws, arithmetic, derivatives, planted faults."""
