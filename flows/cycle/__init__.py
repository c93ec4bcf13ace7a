"""What a running cycle is made of: its lease, the two systems, how they are seen, progress, batches, pace, its end."""
