"""The zoo: cells from the literature, each as the equations of its paper.

By name, as in `--cell zoo:janet`, and as classes, as in `tt.zoo.JANET`. `gated.py` has units with
one memory, as the GRU; `light.py` those with few matrices; `memory.py` those with a memory cell
beside the output, as the LSTM; `paths.py` dynamical systems and highways.
"""

from __future__ import annotations

from ..base import Cell
from . import gated, light, memory, paths

ZOO: dict[str, type[Cell]] = {
    "antisymmetric-rnn": paths.AntisymmetricRNN,
    "atr": light.ATR,
    "br": light.BR,
    "cfn": light.CFN,
    "cornn": paths.CoRNN,
    "dsgu": gated.DSGU,
    "fast-grnn": light.FastGRNN,
    "fast-rnn": light.FastRNN,
    "gated-antisymmetric-rnn": paths.GatedAntisymmetricRNN,
    "indrnn": light.IndRNN,
    "intersection-rnn": paths.IntersectionRNN,
    "janet": memory.JANET,
    "lem": paths.LEM,
    "light-ru": gated.LightRU,
    "ligru": gated.LiGRU,
    "lstmp": memory.LSTMP,
    "mclstm": memory.MCLSTM,
    "mgu": gated.MGU,
    "minimal-rnn": gated.MinimalRNN,
    "miru1": gated.MiRU1,
    "miru2": gated.MiRU2,
    "multiplicative-lstm": memory.MultiplicativeLSTM,
    "mut1": gated.MUT1,
    "mut2": gated.MUT2,
    "mut3": gated.MUT3,
    "nas": memory.NAS,
    "nbr": light.NBR,
    "original-lstm": memory.OriginalLSTM,
    "ran": memory.RAN,
    "res-lstm": memory.ResLSTM,
    "rhn": paths.RHN,
    "scrn": memory.SCRN,
    "sgrn": light.SGRN,
    "sgu": gated.SGU,
    "star": light.STAR,
    "tau-gru": paths.TauGRU,
    "tgru": light.TGRU,
    "tlstm": light.TLSTM,
    "trnn": light.TRNN,
    "ugrnn": gated.UGRNN,
    "unicornn": paths.UnICORNN,
    "wmclstm": memory.WMCLSTM,
}
"""Every cell by its name after `zoo:`."""
