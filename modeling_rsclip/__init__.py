"""The models of RSCLIP. Importing the package registers them: where it is installed, no remote code is needed."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoModelForZeroShotImageClassification,
)

from .configuration_rscaptioner import RSCaptionerConfig
from .configuration_rsclip import RSCLIPConfig
from .configuration_rstranslator import RSTranslatorConfig
from .importing_rsclip import import_clip
from .modeling_rscaptioner import RSCaptionerForConditionalGeneration, RSCaptionerModel
from .modeling_rsclip import RSCLIPModel, RSCLIPOutput
from .modeling_rstranslator import RSTranslatorModel, RSTranslatorOutput

AutoConfig.register("rsclip", RSCLIPConfig)
AutoConfig.register("rscaptioner", RSCaptionerConfig)
AutoConfig.register("rstranslator", RSTranslatorConfig)
AutoModel.register(RSCLIPConfig, RSCLIPModel)
AutoModelForZeroShotImageClassification.register(RSCLIPConfig, RSCLIPModel)
AutoModel.register(RSCaptionerConfig, RSCaptionerModel)
AutoModelForImageTextToText.register(RSCaptionerConfig, RSCaptionerForConditionalGeneration)
AutoModelForMultimodalLM.register(RSCaptionerConfig, RSCaptionerForConditionalGeneration)
AutoModel.register(RSTranslatorConfig, RSTranslatorModel)

RSCLIPConfig.register_for_auto_class()
RSCaptionerConfig.register_for_auto_class()
RSTranslatorConfig.register_for_auto_class()
RSCLIPModel.register_for_auto_class("AutoModel")
RSCaptionerModel.register_for_auto_class("AutoModel")
RSCaptionerForConditionalGeneration.register_for_auto_class("AutoModelForImageTextToText")
RSTranslatorModel.register_for_auto_class("AutoModel")

__all__ = [
    "RSCLIPConfig",
    "RSCLIPModel",
    "RSCLIPOutput",
    "RSCaptionerConfig",
    "RSCaptionerForConditionalGeneration",
    "RSCaptionerModel",
    "RSTranslatorConfig",
    "RSTranslatorModel",
    "RSTranslatorOutput",
    "import_clip",
]
