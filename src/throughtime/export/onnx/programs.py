"""`run_onnx.py`: the program beside a model, which needs onnxruntime and tokenizers alone."""

from __future__ import annotations

from ...layers.outline import Outline, Tokens
from ...tasks.exported import Exported
from .sequence import goes_on

BEGIN = """import json, sys
import numpy as np, onnxruntime{tokenizers}

model = onnxruntime.InferenceSession("NAME.onnx")
about = model.get_modelmeta().custom_metadata_map
"""

STATE = """first = json.loads(about["first_state"])
state = {i.name: np.array(first.get(i.name) or [np.zeros(i.shape[1])], np.float32)
         for i in model.get_inputs() if i.name.startswith("state_")}
"""

FIRST = """start = onnxruntime.InferenceSession("NAME_first.onnx")
state = dict(zip([o.name for o in start.get_outputs()], start.run(None, condition)))
"""

READ = {
    "sequence": """
def read(some):
    given = {{"{name}": np.array([some]), "lengths": np.array([len(some)])}}
    logits, *new = model.run(None, {{**given, **state{more}}})
    state.update(zip(state, new))
    return logits{last}
""",
    "step": """
def read(some):
    for one in some:
        logits, *new = model.run(None, {{"{name}": np.array([one]), **state{more}}})
        state.update(zip(state, new))
    return logits[0]
""",
}

WRITES = '''"""Writes with the model in this folder: python run_onnx.py "The " 200{condition}."""
{begin}words = sys.argv[1:] + {defaults}[len(sys.argv) - 1 :]
{state}{read}
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
opening, never, eos = (json.loads(about[k]) for k in ("opening", "never", "eos"))
ids, random = tokenizer.encode(words[0]).ids, np.random.default_rng(0)
logits, wanted = read(opening + ids), len(ids) + int(words[1])
while len(ids) < wanted:
    logits[never] = -np.inf
    p = np.exp(logits.astype(np.float64) - logits.max())
    ids.append(int(random.choice(len(p), p=p / p.sum())))
    if ids[-1] == eos:
        break
    logits = read(ids[-1:])
print(tokenizer.decode(ids))
'''

LABELS = '''"""Labels a sequence: python run_onnx.py {what}."""
{begin}{state}{read}
steps = {steps}
logits = read(steps)
print(json.loads(about["labels"])[int(logits.argmax())])
'''

WHOLE = """
def read(some):
    given = {{"{name}": np.array([some]), "lengths": np.array([len(some)])}}
    return model.run(None, given)[0][0]
"""


def program(exported: Exported, name: str, form: str) -> str:
    """The text of run_onnx.py."""
    outline = exported.outline
    text = writes(outline, form) if exported.says == "token" else labels(outline, form)
    return text.replace("NAME", name)


def writes(outline: Outline, form: str) -> str:
    """Of a model that says the next token."""
    known, state, more, said, defaults = outline.condition, STATE, "", "", ["The ", "200"]
    if known is not None:
        zeros = str([0.0] * known.embed.W.shape[1])
        defaults.append(zeros)
        said = f" '{zeros}', a condition's numbers"
        given = '{"condition": np.array([json.loads(words[2])], np.float32)}'
        begin = FIRST if known.first is not None else STATE
        state, more = f"condition = {given}\n{begin}", ", **condition" * known.joins_input
    read = READ[form].format(
        name="tokens" if form == "sequence" else "token", more=more, last="[0, -1]"
    )
    begin = BEGIN.format(tokenizers=", tokenizers")
    return WRITES.format(condition=said, begin=begin, defaults=defaults, state=state, read=read)


def labels(outline: Outline, form: str) -> str:
    """Of a model that labels what it read."""
    tokens, state = isinstance(outline.inputs, Tokens), ""
    several = form == "sequence"
    name = "tokens"[: 6 if several else 5] if tokens else "x"
    if goes_on(outline) or not several:
        state = STATE
        read = READ[form].format(name=name, more="", last="[0, -1]")
    else:
        read = WHOLE.format(name=name)
    if tokens:
        steps = 'tokenizers.Tokenizer.from_file("tokenizer.json").encode(sys.argv[1]).ids'
        what, begin = '"a text"', BEGIN.format(tokenizers=", tokenizers")
    else:
        steps = "np.load(sys.argv[1]).astype(np.float32)"
        what, begin = "FILE, a .npy of steps [T, n]", BEGIN.format(tokenizers="")
    return LABELS.format(what=what, begin=begin, state=state, read=read, steps=steps)
