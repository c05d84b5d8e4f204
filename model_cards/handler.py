"""The custom handler of Inference Endpoints: `handler.py` beside the weights, with the files of `HANDLER_FILES`.

The endpoint's toolkit loads this file alone, by its path, outside any package. transformers' loader of remote code
finds the rest as it finds the model's.
"""

from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_class_from_dynamic_module


class EndpointHandler:
    """Answers requests about RGB and infrared images; see `docs/serving.md` for what they hold.

    The toolkit answers 200 with whatever is returned and 400 with `{"error": str(error)}` whenever anything is raised.
    So a refused request raises, and the text of the error is its JSON.

    Attributes:
        refusal: The class of errors that are the request's fault; they have `status` and `answer()`.
    """

    def __init__(self, path: str | Path = "") -> None:
        folder = str(Path(path).resolve())
        self._endpoint = get_class_from_dynamic_module("endpoint_handler.Endpoint", folder)(folder)
        self.refusal: type[ValueError] = self._endpoint.refusal

    def __call__(self, data: Any) -> Any:
        """Answers one request: `{"inputs": ..., "parameters": {...}}`."""
        return self._endpoint(data)
