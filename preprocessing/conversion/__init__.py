"""Raw shapes to TFRecords with splits: a Beam job that writes a versioned data set."""
