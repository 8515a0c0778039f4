"""Kinds of networks that can be trained, one a file: importing the file registers the kind."""

from harness.train.kinds import autoencoder as autoencoder
from harness.train.kinds import classifier as classifier
from harness.train.kinds import denoiser as denoiser
from harness.train.kinds import time_conditioned as time_conditioned
from harness.train.kinds.kind import KINDS as KINDS
from harness.train.kinds.kind import Built as Built
from harness.train.kinds.kind import NetworkKind as NetworkKind
from harness.train.kinds.kind import kind_of as kind_of
from harness.train.kinds.kind import register as register
