#!/usr/bin/env python3
"""The daemon before a film of known people, with everybody enrolled and with each of them left out in turn.

    python3 tests/group.py target/release/facelatch FILM GALLERY [--models DIR --detector NAME --model NAME] [--looked-at SECOND]

GALLERY holds a photograph of each person, named after them. The film is played in real time, as a camera would give it, so a
slow machine sees fewer of its frames. Prints who was granted, how often and when. A grant at a time at which, with everybody
enrolled, only the person who is now left out was granted is one in that person's place: it is listed, and the end is 1. Others may be
in the picture; whoever looked at that second of the film and saw that it was somebody else's face says so with --looked-at SECOND.
Needs nothing but Python's standard library.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
[camera]
width = 1280
height = 720

[replay]
path = "{film}"

[gate]
retry_after_ms = 500
absent_after_ms = 300
relock_on_open = false
pulse_ms = 300
agree = {agree}
of = 5

[control]
socket = "{dir}/control.sock"

[liveness]
i_accept_that_a_photograph_opens_this_door = true
"""

# A grant follows the frames that it rests on by less than this: gate.stale_after and the ledger.
NEAR_S = 2.0


def seconds(event, start):
    at = datetime.datetime.fromisoformat(event["at"].replace("Z", "+00:00"))
    return (at - start).total_seconds()


def play(args, photos):
    """Enrols the photos, plays the film, and returns (second, outcome, person, similarity) of every event."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "facelatch.toml"
        config.write_text(CONFIG.format(film=args.film.resolve(), dir=scratch, agree=args.agree))
        networks = {"--models": args.models, "--detector": args.detector, "--model": args.model, "--landmarks": args.landmarks}
        networks = [word for option, value in networks.items() if value for word in (option, value)]
        base = [args.facelatch, "--config", str(config), "--state", scratch, *networks, "--json"]
        for photo in photos:
            subprocess.run([*base, "enroll", photo.stem, str(photo)], check=True, capture_output=True)
        subprocess.run([*base, "run"], check=True, capture_output=True)
        ledger = subprocess.run([*base, "events", "--verify"], capture_output=True, text=True)
        assert ledger.returncode == 0, ledger.stderr
        listed = subprocess.run([*base, "events", "--limit", "1000000"], check=True, capture_output=True, text=True)
    events = [json.loads(line) for line in listed.stdout.splitlines()]
    events = events[[event["outcome"] for event in events].index("started"):]
    start = datetime.datetime.fromisoformat(events[0]["at"].replace("Z", "+00:00"))
    return [(seconds(e, start), e["outcome"], e["person"], e["similarity"]) for e in events]


def show(label, events):
    granted = [(at, person, similarity) for at, outcome, person, similarity in events if outcome == "granted"]
    other = {}
    for _, outcome, _, _ in events:
        if outcome not in ("granted", "started", "stopped"):
            other[outcome] = other.get(outcome, 0) + 1
    counts = {}
    for _, person, _ in granted:
        counts[person] = counts.get(person, 0) + 1
    print(f"{label}: granted {counts or 'nobody'}; {other}")
    for at, person, similarity in granted:
        print(f"    {at:6.1f} s  {person}  {similarity:.3f}")
    return granted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facelatch")
    parser.add_argument("film", type=Path)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--models", type=Path, help="folder of other networks than the built-in ones; needs --detector and --model")
    parser.add_argument("--detector", help="one of them")
    parser.add_argument("--model", help="one of them")
    parser.add_argument("--landmarks", help="one of them, or second-look, or none")
    parser.add_argument("--agree", type=int, default=3)
    parser.add_argument("--looked-at", type=float, action="append", default=[], metavar="SECOND",
                        help="of the film, at which a grant was right: who was granted is in the picture; several times for several")
    args = parser.parse_args()
    photos = sorted(path for path in args.gallery.iterdir() if path.suffix in (".png", ".jpg", ".jpeg"))

    everybody = show("everybody enrolled", play(args, photos))
    wrong, looked_at = [], 0
    for left_out in photos:
        granted = show(f"without {left_out.stem}", play(args, [photo for photo in photos if photo != left_out]))
        for at, person, similarity in granted:
            near = {name for then, name, _ in everybody if abs(then - at) <= NEAR_S}
            if near != {left_out.stem}:
                continue
            if any(abs(second - at) <= NEAR_S for second in args.looked_at):
                looked_at += 1
            else:
                wrong.append(f"without {left_out.stem}: {person} at {at:.1f} s, similarity {similarity:.3f}")
    print(f"{len(photos)} people, {len(wrong)} granted in the place of somebody left out, {looked_at} more were looked at")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
