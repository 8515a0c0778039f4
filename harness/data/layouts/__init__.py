"""Layouts of images on disk: class folders, Parquet files, tar files, lists, arrays."""
