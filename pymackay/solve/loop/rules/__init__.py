"""The update rules of MacKay's loop."""
