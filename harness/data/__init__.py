"""Readers of data sets: labelled images with stable ids, random access, and a hash that identifies the data."""

from harness.data.arrays import ArrayDataset as ArrayDataset
from harness.data.arrays import Corrupted as Corrupted
from harness.data.arrays import Subset as Subset
from harness.data.arrays import Widened as Widened
from harness.data.layouts.folders import class_folders as class_folders
from harness.data.layouts.lists import ImageList as ImageList
from harness.data.layouts.npy import MappedImages as MappedImages
from harness.data.layouts.npy import open_mapped as open_mapped
from harness.data.layouts.trees import open_outside as open_outside
from harness.data.layouts.trees import open_tree as open_tree
from harness.data.opening import benchmark_classes as benchmark_classes
from harness.data.opening import listing as listing
from harness.data.opening import open_copy as open_copy
from harness.data.opening import open_dataset as open_dataset
from harness.data.opening import open_pictures as open_pictures
from harness.data.pictures import StoredPictures as StoredPictures
from harness.data.pictures import decoded as decoded
from harness.data.pictures import read_image as read_image
from harness.data.pictures import resized as resized
from harness.data.readahead import ReadAhead as ReadAhead
from harness.data.readahead import decoders as decoders
from harness.data.readahead import ordered as ordered
