"""`pointnet-parts inspect`: what a source of clouds has, as terminal tables and an HTML page."""
