"""How images lie on disk: class folders, Parquet files, tar files, lists, arrays."""
