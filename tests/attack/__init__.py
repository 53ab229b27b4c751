"""Bad inputs for every reader and every command: one message, or a valid result, never else."""
