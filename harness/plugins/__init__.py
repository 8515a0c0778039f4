"""Plugins: decorate, discover, look up, configure.

A plugin is a decorated class or function in one short file. It is found in ``registry/`` and ``suites/``, in any
installed package that declares the entry point group ``harness.plugins``, or in a file given as ``--plugin FILE.py``.

A model or denoiser is built without arguments. A builder that declares a parameter ``weight_files`` receives the
`harness.models.published.locate.WeightFiles` of the command: the files of ``--weights``, and the weights folder.

Importing this package imports no torch.
"""

from harness.base.errors import suggest as suggest
from harness.plugins.combined import Combination as Combination
from harness.plugins.combined import Combined as Combined
from harness.plugins.configured import Configured as Configured
from harness.plugins.configured import Tuned as Tuned
from harness.plugins.discovery import Origin as Origin
from harness.plugins.discovery import discover as discover
from harness.plugins.discovery import discover_package as discover_package
from harness.plugins.kinds import AXES as AXES
from harness.plugins.kinds import architecture as architecture
from harness.plugins.kinds import attack as attack
from harness.plugins.kinds import augmentation as augmentation
from harness.plugins.kinds import corruption as corruption
from harness.plugins.kinds import dataset as dataset
from harness.plugins.kinds import denoiser as denoiser
from harness.plugins.kinds import detector as detector
from harness.plugins.kinds import distorter as distorter
from harness.plugins.kinds import figure as figure
from harness.plugins.kinds import guide as guide
from harness.plugins.kinds import method as method
from harness.plugins.kinds import model as model
from harness.plugins.kinds import smoother as smoother
from harness.plugins.kinds import suite as suite
from harness.plugins.registry import Entry as Entry
from harness.plugins.registry import PluginFamily as PluginFamily
from harness.plugins.registry import Registry as Registry
from harness.plugins.registry import arguments_for as arguments_for
from harness.plugins.registry import unknown as unknown
