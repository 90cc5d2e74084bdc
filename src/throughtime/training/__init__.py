"""Training: the loop, when it stops, what it tells, and its looks inside."""
