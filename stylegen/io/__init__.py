"""Files and messages: pictures, videos, atomic and exclusive writing, progress. Numpy and Pillow alone."""
