"""MacKay's loop on generalised models."""
