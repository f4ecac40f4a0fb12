"""Where `svdflow.registry.numerals` stood."""

from svdflow.registry.numerals import LARGEST, real, whole

__all__ = ["LARGEST", "real", "whole"]
