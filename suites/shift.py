"""The former place of `harness.suites.bases.covariate_shift`, for suites in users' files that import it from here."""

from harness.suites.bases.covariate_shift import CovariateShift as CovariateShift
