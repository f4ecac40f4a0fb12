"""What a study found: one metrics file, tables, figures, a report and a verdict."""
