"""The drawn bedrooms."""
