"""R in this process: its start, its session, and values that cross to it and back."""
