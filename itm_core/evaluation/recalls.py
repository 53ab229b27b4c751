"""The names of the numbers that a test split is reported by, for what imports no arrays."""

NUMBERS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
