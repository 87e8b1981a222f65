"""Dense and batched linear algebra."""
