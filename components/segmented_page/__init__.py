"""One HTML page of clouds in the colours of the parts that a model named; they can be turned."""
