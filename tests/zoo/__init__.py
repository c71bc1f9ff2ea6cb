"""What the tests' items do, in plain modules: child processes import these by name."""
