"""The driver of adversarial trainings: losses, random numbers, several processes, checkpoints, sheets, command line."""
