"""RNN, SimpleGRU, GRU and LSTM on made-up sentences: accuracy of agreement by distance.

    python benchmarks/agreement.py --out runs/agreement --figure docs/images/agreement.svg

Writes the training text, trains each cell on it with configs/agreement.yaml at about the same
number of parameters, and tests each on sentences that the text does not hold: 25 for each distance
and number of attractors, and 1,000 at distance 20 with 2 attractors. What is already in the folder
is not made again.
"""

import argparse
import json
import time
from pathlib import Path

import throughtime as tt
from throughtime import config as configs
from throughtime.ground.output import new_path, refuse_existing
from throughtime.inspect.agreement import draw
from throughtime.verbs import agreement_corpus

ROOT = Path(__file__).resolve().parent.parent
# cell: its width for about 129,000 parameters, and the best learning rate of those tried
CELLS = {"rnn": (236, 0.006), "simple-gru": (177, 0.006), "gru": (147, 0.006), "lstm": (128, 0.006)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--sentences", type=int, default=300_000)
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--lr", type=float, help="For all cells, instead of their own.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.figure:
        refuse_existing(options.figure)
    options.out.mkdir(parents=True, exist_ok=True)
    corpus = options.out / "corpus.txt"
    if not corpus.exists():
        print(agreement_corpus(corpus, sentences=options.sentences))
    results = {}
    print(f"{'cell':12} parameters   seconds   all    d = 20, k = 2 (95%)    5-gram, all")
    for name in options.cells:
        run = options.out / (f"{name}-{options.lr:g}" if options.lr else name)
        train(options, corpus, name, run)
        at_20 = tt.agreement(
            run, distances="20", attractors="2", items=1000, ngram=0, threads=options.threads
        ).all.model
        result = results[name] = tt.agreement(run, threads=options.threads)
        said = json.loads((run / "trained.json").read_text())
        print(
            f"{name:12} {said['parameters']:10,} {said['seconds']:9.0f}   {result.all.model}  "
            f"{at_20} ({at_20.interval})    {result.all.ngram}",
            flush=True,
        )
    if options.figure:
        with new_path(options.figure) as path:
            draw(results).savefig(path, metadata={"Date": None})


def train(options, corpus, name, run):
    """Train one cell, unless it has been; resumed where it was left."""
    if (run / "trained.json").exists():
        return
    width, lr = CELLS[name]
    config = configs.from_dict(
        configs.LanguageConfig, configs.load_yaml(ROOT / "configs/agreement.yaml")
    )
    config.train, config.out, config.cell = [str(corpus)], str(run), name
    config.seed, config.threads = options.seed, options.threads
    config.model.hidden_size, config.optim.lr = width, options.lr or lr
    began = time.process_time()
    tt.train(config, resume=run.exists())
    _, model = tt.load(run)
    said = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.process_time() - began,
    }
    (run / "trained.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
