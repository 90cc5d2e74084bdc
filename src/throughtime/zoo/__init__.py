"""`tt.zoo`: cells from the literature, as classes. Their equations are in `cells/zoo`."""

from __future__ import annotations

from ..cells.zoo import ZOO as ZOO
from ..cells.zoo.gated import DSGU as DSGU
from ..cells.zoo.gated import MGU as MGU
from ..cells.zoo.gated import MUT1 as MUT1
from ..cells.zoo.gated import MUT2 as MUT2
from ..cells.zoo.gated import MUT3 as MUT3
from ..cells.zoo.gated import SGU as SGU
from ..cells.zoo.gated import UGRNN as UGRNN
from ..cells.zoo.gated import LightRU as LightRU
from ..cells.zoo.gated import LiGRU as LiGRU
from ..cells.zoo.gated import MinimalRNN as MinimalRNN
from ..cells.zoo.gated import MiRU1 as MiRU1
from ..cells.zoo.gated import MiRU2 as MiRU2
from ..cells.zoo.light import ATR as ATR
from ..cells.zoo.light import BR as BR
from ..cells.zoo.light import CFN as CFN
from ..cells.zoo.light import NBR as NBR
from ..cells.zoo.light import SGRN as SGRN
from ..cells.zoo.light import STAR as STAR
from ..cells.zoo.light import TGRU as TGRU
from ..cells.zoo.light import TLSTM as TLSTM
from ..cells.zoo.light import TRNN as TRNN
from ..cells.zoo.light import FastGRNN as FastGRNN
from ..cells.zoo.light import FastRNN as FastRNN
from ..cells.zoo.light import IndRNN as IndRNN
from ..cells.zoo.memory import JANET as JANET
from ..cells.zoo.memory import LSTMP as LSTMP
from ..cells.zoo.memory import MCLSTM as MCLSTM
from ..cells.zoo.memory import NAS as NAS
from ..cells.zoo.memory import RAN as RAN
from ..cells.zoo.memory import SCRN as SCRN
from ..cells.zoo.memory import WMCLSTM as WMCLSTM
from ..cells.zoo.memory import MultiplicativeLSTM as MultiplicativeLSTM
from ..cells.zoo.memory import OriginalLSTM as OriginalLSTM
from ..cells.zoo.memory import ResLSTM as ResLSTM
from ..cells.zoo.paths import LEM as LEM
from ..cells.zoo.paths import RHN as RHN
from ..cells.zoo.paths import AntisymmetricRNN as AntisymmetricRNN
from ..cells.zoo.paths import CoRNN as CoRNN
from ..cells.zoo.paths import GatedAntisymmetricRNN as GatedAntisymmetricRNN
from ..cells.zoo.paths import IntersectionRNN as IntersectionRNN
from ..cells.zoo.paths import TauGRU as TauGRU
from ..cells.zoo.paths import UnICORNN as UnICORNN
