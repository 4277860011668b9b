"""One file of one point cloud, as arrays and back; one module a format."""
