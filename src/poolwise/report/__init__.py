"""The report of a run: one page, or one figure, told from a `Story`."""
