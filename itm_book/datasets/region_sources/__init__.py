"""Region features as they are released: .tsv, .npz, .npy, HDF5, LMDB. The page lists every form.

Page: "Which files does it read?".
"""
