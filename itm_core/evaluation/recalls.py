"""Names of the numbers of a test split, and of normalisations, for what imports no arrays."""

NUMBERS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
NORMALISATIONS = ("sinkhorn", "querybank", "csls")  # see `hubness`
