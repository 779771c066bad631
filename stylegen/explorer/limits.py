"""Bounds of what a page may send, which the server knows before anything that takes seconds to import is imported."""

MAX_PAGES = 8  # that are open at once
MAX_MESSAGE = 2**20  # bytes
MAX_UPLOAD = 20 * 2**20  # bytes of a file
