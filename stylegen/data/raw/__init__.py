"""Raw data sets as they are downloaded."""
