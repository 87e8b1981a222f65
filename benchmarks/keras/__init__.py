"""Penalties of a Keras network: searches by validation against MacKay's loop."""
