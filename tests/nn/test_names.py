"""`import throughtime.nn as nn` in place of `import torch.nn as nn`: all that torch.nn has."""

import subprocess
import sys

import torch

import throughtime as tt
import throughtime.nn as nn

REPLACED = {"RNN", "LSTM", "GRU"}


def test_every_public_name_of_torch_nn_is_there_and_its_own_but_for_three():
    for name in (name for name in dir(torch.nn) if not name.startswith("_")):
        ours, theirs = getattr(nn, name), getattr(torch.nn, name)
        if name in REPLACED:
            assert issubclass(ours, theirs)
            assert ours is not theirs
        else:
            assert ours is theirs, name


def test_changing_the_import_is_all():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.lstm, self.cell = nn.LSTM(4, 5, batch_first=True), nn.LSTMCell(5, 3)
            self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 2))
            self.scale = nn.Parameter(torch.ones(2))

        def forward(self, tokens):
            y, _ = self.lstm(self.embedding(tokens))
            h, _ = self.cell(nn.functional.relu(y[:, -1]))
            return self.head(h) * self.scale

    loss = nn.CrossEntropyLoss()(
        Model()(torch.ones(3, 6, dtype=torch.long)), torch.tensor([0, 1, 0])
    )
    loss.backward()
    assert isinstance(nn.LSTM(4, 5), torch.nn.LSTM)
    assert nn.LSTM(4, 5).backend == "auto"


def test_a_type_checker_sees_the_names(tmp_path):
    file = tmp_path / "user.py"
    file.write_text(
        "import throughtime.nn as nn\n"
        "class Model(nn.Module):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__()\n"
        "        self.lstm = nn.LSTM(3, 4, backend='auto')\n"
        "        self.head: nn.Linear = nn.Linear(4, 5)\n"
        "        self.scale = nn.Parameter(nn.functional.relu(self.head.weight))\n"
        "        nn.init.zeros_(self.scale)\n"
        "wrong: int = nn.LSTMCell(3, 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, done.stdout
    assert '"LSTMCell" is not assignable to declared type "int"' in done.stdout


def test_dir_of_the_package_shows_its_public_names_only():
    assert set(dir(tt)) == {*tt.__all__, "__version__"}
