"""DeepAugment: images through an image-to-image network whose weights and activations are changed at random.

Hendrycks et al., "The Many Faces of Robustness", ICCV 2021. The families of changes and their constants are what the
authors' program (github.com/hendrycks/imagenet-r, DeepAugment/) does when it runs, its slips included where the result
is a distortion like any other: each is named where it occurs. Throughout, a filter or channel that is drawn twice is
changed once, where the program's in-place arithmetic undoes or repeats some changes.

Every number is drawn on the CPU by the numpy generator that a function is given. A change is drawn once and shared by
all images of a call, so what becomes of an image does not depend on how many others there are.
"""

from harness.deepaugment.activations import ACTIVATIONS as ACTIVATIONS
from harness.deepaugment.activations import CODE as CODE
from harness.deepaugment.draws import Rng as Rng
from harness.deepaugment.draws import pick as pick
from harness.deepaugment.draws import uniform as uniform
from harness.deepaugment.networks import AutoencoderDistorter as AutoencoderDistorter
from harness.deepaugment.networks import Distorter as Distorter
from harness.deepaugment.networks import Distortion as Distortion
from harness.deepaugment.networks import Option as Option
from harness.deepaugment.networks import TrainedDistorter as TrainedDistorter
from harness.deepaugment.networks import configured as configured
from harness.deepaugment.networks import on as on
from harness.deepaugment.weights import WEIGHTS as WEIGHTS
