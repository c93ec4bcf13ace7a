"""What commands and pages print: plans, logs, status, why, history, and how expressions come to their values."""
