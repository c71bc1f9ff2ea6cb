"""Decisions, pure: values in, values out. No clock is read here, no thread started, nothing sent."""
