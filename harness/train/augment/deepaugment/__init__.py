"""DeepAugment: images through an image-to-image network whose weights and activations are changed at random.

Hendrycks et al., "The Many Faces of Robustness", ICCV 2021. The families of changes and their constants are what the
authors' program (github.com/hendrycks/imagenet-r, DeepAugment/) does when it runs, its slips included where the result
is a distortion like any other: each is named where it occurs. Throughout, a filter or channel that is drawn twice is
changed once, where the program's in-place arithmetic undoes or repeats some changes.

Every number is drawn on the CPU by the numpy generator that a function is given. A change is drawn once and shared by
all images of a call, so what becomes of an image does not depend on how many others there are.
"""

from harness.train.augment.deepaugment.activations import ACTIVATIONS as ACTIVATIONS
from harness.train.augment.deepaugment.activations import CODE as CODE
from harness.train.augment.deepaugment.distorter import AutoencoderDistorter as AutoencoderDistorter
from harness.train.augment.deepaugment.distorter import Distorter as Distorter
from harness.train.augment.deepaugment.distorter import Distortion as Distortion
from harness.train.augment.deepaugment.distorter import Option as Option
from harness.train.augment.deepaugment.distorter import TrainedDistorter as TrainedDistorter
from harness.train.augment.deepaugment.distorter import configured as configured
from harness.train.augment.deepaugment.distorter import on as on
from harness.train.augment.deepaugment.filters import WEIGHTS as WEIGHTS
from harness.train.augment.deepaugment.random import Rng as Rng
from harness.train.augment.deepaugment.random import pick as pick
from harness.train.augment.deepaugment.random import uniform as uniform
