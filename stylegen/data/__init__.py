"""Image sources and the pipeline that batches them."""
