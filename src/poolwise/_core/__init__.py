"""Values: errors, the model, the clock. Standard library only, no input or output."""
