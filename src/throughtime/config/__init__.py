"""The configuration of a run: dataclasses that the command line, YAML and Python share.

Plain data, no torch: `throughtime train --help` stays fast. What every task has is in `run.py`;
each task has a file of its own for its settings and for the options of its verbs.
"""

from .classification import ClassifierConfig as ClassifierConfig
from .classification import ClassifierModelConfig as ClassifierModelConfig
from .comparison import Comparison as Comparison
from .conditional import ConditionalConfig as ConditionalConfig
from .conditional import ConditionalModelConfig as ConditionalModelConfig
from .durations import Every as Every
from .durations import seconds as seconds
from .forecast import ForecastConfig as ForecastConfig
from .forecast import ForecastModelConfig as ForecastModelConfig
from .language import DataConfig as DataConfig
from .language import LanguageConfig as LanguageConfig
from .language import ModelConfig as ModelConfig
from .located import changes as changes
from .located import followed as followed
from .located import located as located
from .located import started as started
from .music import MusicConfig as MusicConfig
from .regression import RegressionConfig as RegressionConfig
from .run import DEVICES as DEVICES
from .run import WEIGHTS as WEIGHTS
from .run import ExampleLoopConfig as ExampleLoopConfig
from .run import LoopConfig as LoopConfig
from .run import OptimConfig as OptimConfig
from .run import RunConfig as RunConfig
from .run import StackConfig as StackConfig
from .run import StreamLoopConfig as StreamLoopConfig
from .settings import check as check
from .settings import from_dict as from_dict
from .settings import load_yaml as load_yaml
from .settings import to_dict as to_dict
from .synthetic import AddingConfig as AddingConfig
from .synthetic import CopyingConfig as CopyingConfig
from .synthetic import TemporalOrderConfig as TemporalOrderConfig
from .tagging import TaggerConfig as TaggerConfig
from .tagging import TaggerModelConfig as TaggerModelConfig
from .text import DecoderConfig as DecoderConfig
from .translation import TranslatorConfig as TranslatorConfig
from .translation import TranslatorModelConfig as TranslatorModelConfig
from .tuning import Tuning as Tuning
