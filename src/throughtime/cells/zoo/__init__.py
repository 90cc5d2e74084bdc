"""The zoo: cells from the literature, each as the equations of its paper.

By name, as in `--cell zoo:janet`, and as classes, as in `tt.zoo.JANET`. `gated.py` has units with
one memory, as the GRU; `light.py` those with few matrices; `memory.py` those with a memory cell
beside the output, as the LSTM; `paths.py` dynamical systems and highways.
"""

from __future__ import annotations

from ..base import Cell
from .gated import DSGU as DSGU
from .gated import MGU as MGU
from .gated import MUT1 as MUT1
from .gated import MUT2 as MUT2
from .gated import MUT3 as MUT3
from .gated import SGU as SGU
from .gated import UGRNN as UGRNN
from .gated import LightRU as LightRU
from .gated import LiGRU as LiGRU
from .gated import MinimalRNN as MinimalRNN
from .gated import MiRU1 as MiRU1
from .gated import MiRU2 as MiRU2
from .light import ATR as ATR
from .light import BR as BR
from .light import CFN as CFN
from .light import NBR as NBR
from .light import SGRN as SGRN
from .light import STAR as STAR
from .light import TGRU as TGRU
from .light import TLSTM as TLSTM
from .light import TRNN as TRNN
from .light import FastGRNN as FastGRNN
from .light import FastRNN as FastRNN
from .light import IndRNN as IndRNN
from .memory import JANET as JANET
from .memory import MCLSTM as MCLSTM
from .memory import NAS as NAS
from .memory import RAN as RAN
from .memory import SCRN as SCRN
from .memory import WMCLSTM as WMCLSTM
from .memory import MultiplicativeLSTM as MultiplicativeLSTM
from .memory import OriginalLSTM as OriginalLSTM
from .memory import ResLSTM as ResLSTM
from .paths import LEM as LEM
from .paths import RHN as RHN
from .paths import AntisymmetricRNN as AntisymmetricRNN
from .paths import CoRNN as CoRNN
from .paths import GatedAntisymmetricRNN as GatedAntisymmetricRNN
from .paths import IntersectionRNN as IntersectionRNN
from .paths import TauGRU as TauGRU
from .paths import UnICORNN as UnICORNN

ZOO: dict[str, type[Cell]] = {
    "antisymmetric-rnn": AntisymmetricRNN,
    "atr": ATR,
    "br": BR,
    "cfn": CFN,
    "cornn": CoRNN,
    "dsgu": DSGU,
    "fast-grnn": FastGRNN,
    "fast-rnn": FastRNN,
    "gated-antisymmetric-rnn": GatedAntisymmetricRNN,
    "indrnn": IndRNN,
    "intersection-rnn": IntersectionRNN,
    "janet": JANET,
    "lem": LEM,
    "light-ru": LightRU,
    "ligru": LiGRU,
    "mclstm": MCLSTM,
    "mgu": MGU,
    "minimal-rnn": MinimalRNN,
    "miru1": MiRU1,
    "miru2": MiRU2,
    "multiplicative-lstm": MultiplicativeLSTM,
    "mut1": MUT1,
    "mut2": MUT2,
    "mut3": MUT3,
    "nas": NAS,
    "nbr": NBR,
    "original-lstm": OriginalLSTM,
    "ran": RAN,
    "res-lstm": ResLSTM,
    "rhn": RHN,
    "scrn": SCRN,
    "sgrn": SGRN,
    "sgu": SGU,
    "star": STAR,
    "tau-gru": TauGRU,
    "tgru": TGRU,
    "tlstm": TLSTM,
    "trnn": TRNN,
    "ugrnn": UGRNN,
    "unicornn": UnICORNN,
    "wmclstm": WMCLSTM,
}
"""Every cell by its name after `zoo:`."""
