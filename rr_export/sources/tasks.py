"""What a model of Hugging Face is for: the names of tasks, and the classes of transformers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TASKS: Mapping[str, str] = {  # as optimum and the Hub call them
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
    "image-feature-extraction": "AutoModel",
    "image-classification": "AutoModelForImageClassification",
    "semantic-segmentation": "AutoModelForSemanticSegmentation",
    "depth-estimation": "AutoModelForDepthEstimation",
}
ENDINGS: Mapping[str, str] = {  # of the classes' names
    **{name.removeprefix("AutoModel"): task for task, name in TASKS.items() if name != "AutoModel"},
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
}


def task_of(architectures: Sequence[str]) -> str | None:
    """Returns the task of a class of transformers, None where its name does not say it."""
    for name in architectures[:1]:
        for ending, task in ENDINGS.items():
            if name.endswith(ending):
                return task
        return "feature-extraction" if name.endswith("Model") else None
    return None
