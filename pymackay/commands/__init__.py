"""What the command line reads and says: tables from files, and what is installed."""
