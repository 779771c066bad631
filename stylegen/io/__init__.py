"""Files and messages: images, videos, atomic and exclusive writing, progress. Numpy and Pillow alone."""
