"""Types that flow between data sets, classifiers, methods, suites and records.

They are small and immutable, and import nothing beyond the standard library: tensors appear in type hints alone, so
records and leaderboards load without torch.
"""

from harness.base.errors import Absent as Absent
from harness.base.errors import BadImage as BadImage
from harness.base.errors import HarnessError as HarnessError
from harness.base.errors import Incompatible as Incompatible
from harness.base.errors import Unsuited as Unsuited
from harness.types.attacks import Attack as Attack
from harness.types.attacks import ThreatModel as ThreatModel
from harness.types.data import Batch as Batch
from harness.types.data import Columns as Columns
from harness.types.data import Condition as Condition
from harness.types.data import Corruption as Corruption
from harness.types.data import Dataset as Dataset
from harness.types.data import Geometry as Geometry
from harness.types.data import Metric as Metric
from harness.types.data import Pictures as Pictures
from harness.types.detection import Answer as Answer
from harness.types.detection import Bank as Bank
from harness.types.detection import Detector as Detector
from harness.types.detection import FeatureSet as FeatureSet
from harness.types.detection import Response as Response
from harness.types.guides import NO_CLASSIFIER as NO_CLASSIFIER
from harness.types.guides import USUAL_STEPS as USUAL_STEPS
from harness.types.guides import Guide as Guide
from harness.types.guides import Sampling as Sampling
from harness.types.guides import check_scale as check_scale
from harness.types.methods import Adaptation as Adaptation
from harness.types.methods import Classifier as Classifier
from harness.types.methods import DiffusedViews as DiffusedViews
from harness.types.methods import FeatureClassifier as FeatureClassifier
from harness.types.methods import GradientClassifier as GradientClassifier
from harness.types.methods import Method as Method
from harness.types.methods import Noise as Noise
from harness.types.methods import NoisyClassifier as NoisyClassifier
from harness.types.methods import Smoother as Smoother
from harness.types.methods import SuiteViews as SuiteViews
from harness.types.methods import Views as Views
from harness.types.methods import times_for as times_for
from harness.types.spec import RunSpec as RunSpec
from harness.types.spec import dtype_of as dtype_of
from harness.types.suites import BatchTask as BatchTask
from harness.types.suites import Calls as Calls
from harness.types.suites import Observation as Observation
from harness.types.suites import Pair as Pair
from harness.types.suites import Stage as Stage
from harness.types.suites import Suite as Suite
from harness.types.weights import Weights as Weights
