"""Whether a classifier of real names finds the language that generated names were meant for.

    python benchmarks/generated_names.py WRITER CLASSIFIER --names FILE… [--temperature 1.0]
        [--seed 1]

WRITER is a run of `conditional`, CLASSIFIER one of `classify`, both trained on the same files, one
a language. For each language as many names are generated as the classifier had held out of it, so
both rates are over the same mixture of languages.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import throughtime as tt
from throughtime.data.examples import read_examples

SHARE = 0.2
"""Of each language, so many names are generated: what the classifier held out."""


def main() -> None:
    """Print both rates, by language and in all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("writer")
    parser.add_argument("classifier")
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    real: dict[str, list[str]] = {}
    for example in read_examples(o.names):
        real.setdefault(str(example.condition["condition"]), []).append(example.sequence)
    found = 0
    known = 0
    total = 0
    rates = []
    print(f"{'language':12} {'generated':>9} {'found':>8} {'in training':>12}   such as")
    for k, (language, names) in enumerate(sorted(real.items())):
        count = max(1, round(SHARE * len(names)))
        written = tt.generate(
            o.writer, condition=[language], num_samples=count, seed=o.seed + 100_000 * k,
            max_new_tokens=40, temperature=o.temperature,
        )  # fmt: skip
        labels = [p.values["label"] for p in tt.predict(o.classifier, lines=written)]
        right = sum(label == language for label in labels)
        copies = sum(name in names for name in written)
        rates.append(right / count)
        found, known, total = found + right, known + copies, total + count
        print(
            f"{language:12} {count:9} {right / count:8.1%} {copies / count:12.1%}   "
            f"{', '.join(written[:4])}"
        )
    on_real = tt.evaluate(o.classifier).to_dict()
    print(f"\nof {total:,} generated names: {found / total:.2%} found; mean over languages "
          f"{sum(rates) / len(rates):.2%}; {known / total:.1%} are names of the data")  # fmt: skip
    print(f"of real names held out: {on_real['accuracy']:.2%}")
    print(f"generated against real: {found / total / on_real['accuracy']:.2%}")
    print(f"writer {Path(o.writer)}, classifier {Path(o.classifier)}, seed {o.seed}")


if __name__ == "__main__":
    main()
