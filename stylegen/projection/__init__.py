"""Find the styles with which a generator draws a picture."""
