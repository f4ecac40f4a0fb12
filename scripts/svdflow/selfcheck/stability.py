"""Floating-point stability: sums and variances, log-sum-exp and softmax, the formats under them, contractions."""

from svdflow.selfcheck import contractions, precision, softmax, sums

FAMILY = "stability"
AUDITS = {**sums.AUDITS, **softmax.AUDITS, **precision.AUDITS, **contractions.AUDITS}
