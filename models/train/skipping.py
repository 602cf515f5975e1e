"""For tests of the recipes, which are skipped where the recipes' packages are missing, and say so."""

import sys
import unittest


def skipped(missing: ModuleNotFoundError) -> unittest.SkipTest:
    """To be raised in the place of `missing`, aloud: nobody is to take a skipped test for one that passed."""
    reason = f"SKIPPED, NOT TESTED: the training recipes need {missing.name}; pip install -r models/train/requirements.txt"
    print(reason, file=sys.stderr, flush=True)
    return unittest.SkipTest(reason)
