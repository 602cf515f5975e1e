"""Smoke tests of triplets.py and mining.py on pictures made here: `python -m unittest test_triplets` (seconds)."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
import tracemalloc
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from skipping import skipped

try:
    import cv2
    import numpy as np
    import torch
except ModuleNotFoundError as missing:
    raise skipped(missing) from None

import checkpoints
import plot
import triplets as recipe
from data import CROP
from mining import distances, mine, triplet_loss

PEOPLE, EACH, BATCH = 10, 4, 8


def pairs(kind: str, apart, people) -> set[tuple[int, int, int]]:
    found = mine(kind, torch.tensor(apart), torch.tensor(people), torch.Generator().manual_seed(0))
    return {tuple(int(x) for x in triplet) for triplet in zip(*found)}


class Mining(unittest.TestCase):
    # Two pictures of person 0, two of person 1 and one of person 2, who has no positive.
    people = [0, 0, 1, 1, 2]
    apart = [
        [0.0, 1.0, 0.5, 1.2, 1.5],
        [1.0, 0.0, 0.8, 0.9, 0.7],
        [0.5, 0.8, 0.0, 0.4, 2.0],
        [1.2, 0.9, 0.4, 0.0, 3.0],
        [1.5, 0.7, 2.0, 3.0, 0.0],
    ]

    def test_batch_hard_takes_the_furthest_positive_and_the_nearest_negative(self):
        self.assertEqual(pairs("batch-hard", self.apart, self.people), {(0, 1, 2), (1, 0, 4), (2, 3, 0), (3, 2, 1)})

    def test_semi_hard_takes_the_nearest_beyond_the_positive_or_else_the_furthest(self):
        # From 1 all strangers are nearer than the positive: the furthest of them, 3, is taken.
        self.assertEqual(pairs("semi-hard", self.apart, self.people), {(0, 1, 3), (1, 0, 3), (2, 3, 0), (3, 2, 1)})

    def test_random_takes_any_stranger(self):
        generator, seen = torch.Generator().manual_seed(0), set()
        for _ in range(50):
            for a, p, n in zip(*mine("random", torch.tensor(self.apart), torch.tensor(self.people), generator)):
                self.assertEqual(self.people[a], self.people[p])
                self.assertNotEqual(a, p)
                seen.add((int(a), int(n)))
        self.assertEqual(seen, {(a, n) for a in range(4) for n in range(5) if self.people[a] != self.people[n]})

    def test_the_loss_is_the_mean_and_active_what_is_above_zero(self):
        apart = torch.tensor(self.apart)
        triplets = (torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([3, 1]))
        loss, active = triplet_loss(apart, triplets, margin=0.3)  # 1.0 - 1.2 + 0.3 = 0.1, and 0.4 - 0.8 + 0.3 < 0
        self.assertAlmostEqual(loss.item(), 0.05, places=6)
        self.assertEqual(active.item(), 0.5)

    def test_a_batch_of_one_person_teaches_nothing(self):
        for kind in ("random", "semi-hard", "batch-hard"):
            triplets = mine(kind, torch.zeros(3, 3), torch.zeros(3), torch.Generator())
            self.assertEqual([x.item() for x in triplet_loss(torch.zeros(3, 3), triplets, 0.2)], [0, 0])

    def test_distances_are_those_of_unit_vectors(self):
        x = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))
        torch.testing.assert_close(distances(x), torch.cdist(x, x).square(), rtol=1e-4, atol=1e-5)


class Siamese(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        random, lines = np.random.default_rng(0), []
        for person in range(PEOPLE):
            face = random.integers(0, 200, (6, 6, 3))
            for index in range(EACH):
                picture = np.clip(face + random.integers(0, 56, face.shape), 0, 255).astype(np.uint8)
                # Half of them in folders, half in a flat folder with a list.
                flat = person >= PEOPLE // 2
                # As align.py calls the crops; the list calls the last person's by the photos' whole names.
                path = cls.root / ("flat" if flat else f"people/p{person}") / f"{person}-{index}.jpg.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), cv2.resize(picture, (CROP, CROP), interpolation=cv2.INTER_CUBIC))
                lines += [f"{path.stem if person == PEOPLE - 1 else Path(path.stem).stem} {1000 + person}"] if flat else []
        cv2.imwrite(str(cls.root / "flat" / "alone.png"), np.zeros((CROP, CROP, 3), np.uint8))
        (cls.root / "identities.txt").write_text("\n".join([*lines, "alone 2000"]))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def args(self, name: str, *more) -> list[str]:
        where = ["--people", self.root / "people", self.root / "flat", "--identities", self.root / "identities.txt"]
        where += ["--work", self.root / name, "--checkpoints", self.root / name, "--threads", 2, "--precision", "float"]
        sizes = ["--width", 0.1, "--batch", BATCH, "--warm-up", 1, "--log-steps", 1, "--pictures", 6 * BATCH]
        return [str(a) for a in (*where, *sizes, *more)]

    def train(self, name: str, *more) -> list[dict]:
        with contextlib.redirect_stdout(io.StringIO()):
            recipe.main(self.args(name, *more))
        return [json.loads(line) for line in (self.root / name / "encoder-triplets.log.jsonl").read_text().splitlines()]

    def test_people_are_those_of_folders_and_of_the_list_with_two_pictures(self):
        people = recipe.People(recipe.arguments(self.args("people", "--held-out", 0.4)))
        self.assertEqual(len(people.crops), PEOPLE * EACH)
        self.assertEqual(np.bincount(people.person).tolist(), [EACH] * PEOPLE)
        self.assertEqual(sorted(people.names), sorted([*(f"p{n}" for n in range(5)), *(str(1000 + n) for n in range(5, 10))]))
        self.assertEqual(len(people.training) + len(people.held), PEOPLE * EACH)
        self.assertFalse(set(people.person[people.training]) & set(people.person[people.held]))

    def test_a_list_has_no_say_over_pictures_in_a_persons_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("people/ada/000001", "people/ada/000002", "flat/000001", "flat/000002", "flat/000003", "flat/000004"):
                path = root / f"{name}.jpg.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.zeros((CROP, CROP, 3), np.uint8))
            (root / "identities.txt").write_text("000001.jpg 7\n000002.jpg 8\n000003.jpg 7\n000004.jpg 8\n")
            args = ["--people", root / "people", root / "flat", "--identities", root / "identities.txt", "--work", root]
            people = recipe.People(recipe.arguments([str(a) for a in args]))
        counts = {name: int((people.person == number).sum()) for number, name in enumerate(people.names)}
        self.assertEqual(counts, {"ada": 2, "7": 2, "8": 2})

    def test_people_who_are_added_leave_the_others_on_their_side(self):
        with tempfile.TemporaryDirectory() as folder:
            root, sides = Path(folder), []
            for count in (7, 20):
                for person in range(count):
                    shutil.copytree(self.root / "people" / f"p{person % 5}", root / f"{person}", dirs_exist_ok=True)
                people = recipe.People(recipe.arguments(["--people", folder, "--work", folder, "--held-out", "0.4"]))
                sides.append([{people.names[n] for n in people.person[some]} for some in (people.training, people.held)])
            for before, after in zip(*sides):
                self.assertTrue(before and before < after)

    def test_pairs_are_all_there_are_or_as_many_as_are_asked_for_and_none_comes_twice(self):
        person = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [1, 4, 2, 3]))
        first, second = np.triu_indices(len(person), 1)
        for same in (True, False):
            every = {frozenset(pair) for pair in zip(first.tolist(), second.tolist()) if (person[pair[0]] == person[pair[1]]) == same}
            for most in (3, len(every), 1000):
                found = recipe.drawn_pairs(person, same, most, np.random.default_rng(1))
                drawn = {frozenset(pair) for pair in found.T.tolist()}
                self.assertTrue(drawn <= every)
                self.assertEqual((len(drawn), found.shape[1]), (min(most, len(every)),) * 2)
            seen = [recipe.drawn_pairs(person, same, 1, np.random.default_rng(seed)) for seed in range(2000)]
            counts = np.unique([sorted(pair[:, 0]) for pair in seen], axis=0, return_counts=True)[1]
            self.assertEqual(len(counts), len(every), "each may come")
            self.assertLess(counts.max(), 2 * 2000 / len(every))
        nobody = np.zeros(0, int)
        self.assertEqual([recipe.drawn_pairs(nobody, same, 9, np.random.default_rng(0)).shape for same in (True, False)], [(2, 0)] * 2)
        self.assertEqual(recipe.drawn_pairs(np.zeros(5, int), False, 9, np.random.default_rng(0)).shape, (2, 0))

    def test_pairs_of_very_many_pictures_take_little_memory(self):
        person = np.repeat(np.arange(200), 300)
        for same in (True, False):
            tracemalloc.start()
            found = recipe.drawn_pairs(person, same, 3000, np.random.default_rng(0))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self.assertEqual(((person[found[0]] == person[found[1]]) == same).sum(), 3000)
            self.assertLess(peak, 20e6)

    def test_the_accuracy_is_of_the_pairs_of_those_kept_back(self):
        with contextlib.redirect_stdout(io.StringIO()):
            made = recipe.Siamese(recipe.arguments(self.args("measured", "--held-out", 0.5)))
        first, second, same = made.pairs
        held = made.people.person[made.people.held]
        np.testing.assert_array_equal(held[first] == held[second], same)
        self.assertEqual(same.tolist(), [True, False] * (len(same) // 2))
        # An encoder that knows them all.
        told = {made.people.crops[i, 8:-8, 8:-8].tobytes(): made.people.person[i] for i in made.people.held}

        def network(pixels):
            who = [told[crop.permute(1, 2, 0).byte().numpy().tobytes()] for crop in pixels]
            return torch.nn.functional.one_hot(torch.tensor(who), PEOPLE).float()

        made.average.network = network
        self.assertEqual(made.measure()["accuracy"], 1.0)
        self.assertGreaterEqual(made.measure()["pairs"], 20)

    def test_a_batch_has_several_pictures_of_a_person(self):
        made = recipe.Siamese(recipe.arguments(self.args("batches", "--each", 4)))
        pixels, people = made.batches(0).make(0)
        self.assertEqual(pixels.shape, (BATCH, 3, 112, 112))
        self.assertEqual(sorted(np.unique(people.numpy(), return_counts=True)[1].tolist()), [4, 4])

    def test_a_run_that_was_stopped_and_resumed_equals_an_undisturbed_one(self):
        # The rate depends on --pictures; so it's a signal that ends the first part.
        lines = self.train("whole", "--mining", "random")
        self.assertEqual([line["pictures"] for line in lines if "active" in line], [BATCH * n for n in range(1, 7)])
        stopped = recipe.Siamese(recipe.arguments(self.args("parts", "--mining", "random")))
        for step in range(3):
            stopped.train_step(stopped.batches(step).make(step))
        stopped.save()
        self.train("parts", "--mining", "random")
        whole, parts = (checkpoints.load(self.root / name / "encoder-triplets.state.pt") for name in ("whole", "parts"))
        for part in ("student", "average"):
            for name, value in whole[part].items():
                self.assertTrue(torch.equal(value, parts[part][name]), f"{part} {name}")

    def test_it_learns_from_hard_triplets(self):
        made = recipe.Siamese(recipe.arguments(self.args("learns", "--mining", "batch-hard", "--margin", 0.5, "--pictures", 10**6)))
        batch = made.batches(0).make(0)
        losses = [made.train_step(batch)["triplet_loss"].item() for _ in range(25)]
        self.assertLess(np.mean(losses[-3:]), 0.8 * np.mean(losses[:3]))

    def test_it_goes_on_from_a_checkpoint_beside_a_teacher(self):
        self.train("start")
        start = self.root / "start" / "encoder-triplets.pt"
        import onnx

        from export import to_onnx

        teacher = self.root / "teacher.onnx"
        onnx.save(to_onnx(checkpoints.load_small(start)[0]), teacher)
        lines = self.train("both", "--from", start, "--teacher", teacher, "--normalise", "raw", "--width", 0.3)
        cosines = [line["cosine"] for line in lines if "cosine" in line]
        self.assertEqual(len(cosines), 6)
        self.assertEqual(checkpoints.load_small(self.root / "both" / "encoder-triplets.pt")[0].config.width, 0.1)

    def test_the_plot_shows_each_run(self):
        self.train("drawn")
        out = self.root / "drawn.svg"
        plot.main([str(out), f"first={self.root / 'drawn' / 'encoder-triplets.log.jsonl'}", "--show", "active", "triplet_loss"])
        self.assertIn("first", out.read_text())
        self.assertIn("share of active triplets", out.read_text())


if __name__ == "__main__":
    unittest.main()
