import subprocess
import sys

import throughtime as tt
from throughtime.tasks import TASKS


def test_the_public_names_are_all_there():
    names = {
        "Cell", "GRU", "GRUResetAfter", "InputError", "LSTM", "PeepholeLSTM", "RNN",
        "Comparison", "SimpleGRU", "Stack", "ThroughtimeError", "Vocabulary", "Weights",
        "agreement", "compare", "doctor", "inspect",
        "evaluate", "generate", "load", "nn", "predict", "scan", "train", "why_not",
        *(task.config.__name__ for task in TASKS.values()),
    }  # fmt: skip
    assert set(tt.__all__) == names
    for name in names:
        assert getattr(tt, name) is not None
        assert name in dir(tt)
    assert {"RNN", "LSTM", "GRU"} == set(tt.nn.__all__)


def test_functions_stay_functions_whatever_is_imported_first():
    program = (
        "import throughtime.scans, throughtime.trainer, throughtime.decoding, throughtime as tt; "
        "assert callable(tt.scan) and callable(tt.train) and callable(tt.generate)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(tt, "Nothing")
