"""Effects: everything that touches the operating system, threads, processes and pickles."""
