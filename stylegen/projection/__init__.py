"""Find the styles with which a generator draws an image."""
