"""MacKay's loop."""
