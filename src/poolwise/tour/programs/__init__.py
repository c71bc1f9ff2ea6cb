"""Programs of the tour, to be run as files: not all have a main guard."""
