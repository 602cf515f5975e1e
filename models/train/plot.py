"""Curves of trainings: `python plot.py OUT.svg NAME=LOG.jsonl … --show active accuracy`, from the logs that recipes write."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the size
matplotlib.rcParams["svg.hashsalt"] = "facelatch"  # the same curves give the same file
import matplotlib.pyplot as plt

LABELS = {
    "active": "share of active triplets",
    "accuracy": "accuracy on people kept back",
    "triplet_loss": "triplet loss",
    "cosine": "cosine to the teacher",
    "validation_cosine": "cosine to the teacher, pictures kept back",
}


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("logs", nargs="+", metavar="NAME=LOG.jsonl")
    parser.add_argument("--show", nargs="+", default=["active", "accuracy"], help="fields of the log's lines, a panel each")
    args = parser.parse_args(given)
    figure, panels = plt.subplots(1, len(args.show), figsize=(4.4 * len(args.show), 3.2), squeeze=False, layout="constrained")
    for named in args.logs:
        name, path = named.split("=", 1)
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        for panel, field in zip(panels[0], args.show):
            found = [(line["pictures"] / 1000, line[field]) for line in lines if field in line]
            if found:
                panel.plot(*zip(*found), label=name, linewidth=1.4)
    for panel, field in zip(panels[0], args.show):
        panel.set_xlabel("thousand pictures seen")
        panel.set_title(LABELS.get(field, field), fontsize=10)
        panel.grid(alpha=0.3)
        if field == "active":
            panel.set_ylim(0, 1.02)
    panels[0][0].legend(fontsize=8)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
