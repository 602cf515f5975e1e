"""What a training that is told to begin anew owes the checkpoint that travels with the repository: for the recipes' tests."""

import contextlib
import io
from pathlib import Path
from unittest import mock

import checkpoints


def leaves_the_shipped_one_alone(test, recipe, shipped: Path, args: list, seen: int) -> None:
    """Runs `recipe` by `args`, its --checkpoints taken away, beside `shipped`: it begins with random weights, changes nothing of that
    file, and its own lies in the folder anew of the test's, of `seen` pictures or windows."""
    before, at = shipped.read_bytes(), args.index("--checkpoints")
    with mock.patch.object(checkpoints, "SHIPPED", shipped.parent), contextlib.redirect_stdout(io.StringIO()) as said:
        recipe.main(args[:at] + args[at + 2 :])
    test.assertIn("beginning with random weights\n", said.getvalue())
    test.assertEqual(shipped.read_bytes(), before)
    test.assertEqual(recipe.load_small(test.root / "anew" / shipped.name)[1], seen)
