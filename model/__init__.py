"""Networks, training and export; loss and metrics beside them."""
