"""Generation with a loaded transformers model: everything that touches torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medeval.llm.errors import Kind, TransportError
from medeval.llm.messages import Message, Picture, clean_text
from medeval.llm.replies import Finish, Reply, Usage
from medeval.llm.requests import ChatRequest, Sampling
from medeval.plugins.devices import assigned_device
from medeval.types import UserError


@dataclass(eq=False)
class Engine:
    """processor: a tokenizer, or for vision models what holds one. window: tokens of the context, None where not known."""

    model: Any
    processor: Any
    vision: bool
    window: int | None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer itself."""
        return getattr(self.processor, "tokenizer", self.processor)

    def generate(self, requests: Sequence[ChatRequest], default_tokens: int) -> list[Reply | TransportError]:
        """Replies to requests of one sampling. A prompt that cannot be written or does not fit fails alone."""
        sampling = requests[0].sampling
        failures = [self._unfit(request, sampling) for request in requests]
        fitting = [request for request, failure in zip(requests, failures, strict=True) if failure is None]
        budget = sampling.max_tokens or default_tokens
        replies = iter(self._batch(fitting, sampling, budget) if fitting else ())
        return [next(replies) if failure is None else failure for failure in failures]

    def _unfit(self, request: ChatRequest, sampling: Sampling) -> TransportError | None:
        """Why a request cannot be generated from, or None."""
        try:
            length = self._encode([request], sampling)["input_ids"].shape[1]
        except TransportError as error:
            return error
        if self.window is None or length < self.window:
            return None
        told = f"the prompt of {length} tokens does not fit the model's context of {self.window}"
        return TransportError(Kind.CONTEXT_LENGTH, told)

    def _batch(self, requests: Sequence[ChatRequest], sampling: Sampling, budget: int) -> list[Reply]:
        import torch

        inputs = self._encode(requests, sampling).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        if self.window is not None:
            budget = min(budget, self.window - length)
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        with torch.inference_mode():
            output = self.model.generate(**inputs, **self._options(sampling, max(1, budget), length))
        prompts = inputs["attention_mask"].sum(dim=1).tolist()
        rows = output[:, length:].tolist()
        return [
            self._reply(row, prompt, sampling, len(rows)) for row, prompt in zip(rows, prompts, strict=True)
        ]

    def _encode(self, requests: Sequence[ChatRequest], sampling: Sampling) -> Any:
        """Token ids by the chat template, padded on the left; the template's own begin token is the only one."""
        chats = [[self._message(message) for message in request.messages] for request in requests]
        try:
            return self.processor.apply_chat_template(
                chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", padding=True,
                **(sampling.template_args or {}),
            )  # fmt: skip
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "jinja2":
                raise
            text = str(error)
            feature = "system" if "system" in text.lower() else "alternate"
            raise TransportError(
                Kind.UNSUPPORTED, f"the chat template refuses: {text}", feature=feature
            ) from None

    def _message(self, message: Message) -> dict[str, Any]:
        if message.pictures and not self.vision:
            raise TransportError(
                Kind.BAD_REQUEST,
                "the message holds a picture, and the model is not opened with `vision: true`",
            )
        if not self.vision:
            return {"role": message.role, "content": message.text}
        parts = (message.content,) if isinstance(message.content, str) else message.content
        return {"role": message.role, "content": [_part(part) for part in parts]}

    def _options(self, sampling: Sampling, budget: int, length: int) -> dict[str, Any]:
        drawn = bool(sampling.temperature)
        options: dict[str, Any] = {
            "max_new_tokens": budget, "do_sample": drawn, "pad_token_id": self.tokenizer.pad_token_id,
            "temperature": sampling.temperature if drawn else None, "top_p": sampling.top_p if drawn else None, "top_k": None,
        }  # fmt: skip
        if sampling.stop:
            options["stopping_criteria"] = [_stop_at(self.tokenizer, sampling.stop, length)]
        return options

    def _reply(self, row: list[int], prompt: int, sampling: Sampling, batch: int) -> Reply:
        ends = self._end_tokens()
        at = next((i for i, token in enumerate(row) if token in ends), None)
        kept = row if at is None else row[:at]
        text = clean_text(self.tokenizer.decode(kept, skip_special_tokens=True))
        stopped = [text.index(stop) for stop in sampling.stop or () if stop in text]
        if stopped:
            text = text[: min(stopped)]
        finish = Finish.STOP if at is not None or stopped else Finish.LENGTH
        usage = Usage(prompt, len(kept) + (at is not None))
        return Reply(text=text, finish=finish, usage=usage, raw={"tokens": kept, "batch": batch})

    def _end_tokens(self) -> set[int]:
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        ends = self.tokenizer.eos_token_id if ends is None else ends
        padding = {self.tokenizer.pad_token_id} if self.tokenizer.pad_token_id is not None else set()
        return padding | ({ends} if isinstance(ends, int) else set(ends or ()))


def _stop_at(tokenizer: Any, stops: Sequence[str], length: int) -> Any:
    """Ends a row once its new text holds a stop text. transformers' own ``stop_strings`` fails on word-level vocabularies."""
    import torch

    window = max(len(stop) for stop in stops) + 8  # tokens that can hold a stop text: at least a letter each

    def done(ids: Any, scores: Any, **_: Any) -> Any:
        texts = tokenizer.batch_decode(ids[:, length:][:, -window:], skip_special_tokens=True)
        return torch.tensor([any(stop in text for stop in stops) for text in texts], device=ids.device)

    return done


def load_engine(
    model: str,
    *,
    revision: str | None,
    device: str,
    dtype: str,
    quantization: str,
    vision: bool,
    chat_template: Path | None,
    local_files_only: bool,
) -> Engine:
    """Load a model for generation. Raises ``UserError`` with what the library says when it cannot be loaded."""
    import torch
    import transformers

    if device == "auto":
        device = assigned_device() or ("cuda" if torch.cuda.is_available() else "cpu")
    source = {
        "revision": revision or "main",
        "local_files_only": local_files_only,
        "trust_remote_code": False,
    }
    loader = transformers.AutoModelForImageTextToText if vision else transformers.AutoModelForCausalLM
    reader = transformers.AutoProcessor if vision else transformers.AutoTokenizer
    try:
        processor = reader.from_pretrained(model, **source)
        loaded: Any = loader.from_pretrained(model, **source, **_weights(dtype, quantization, device))
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise UserError(f"the model {model!r} cannot be loaded: {type(error).__name__}: {error}") from None
    if quantization == "none":
        loaded = loaded.to(device)
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if chat_template is not None:
        processor.chat_template = tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
    if not (processor.chat_template or tokenizer.chat_template):
        raise UserError(
            f"the model {model!r} has no chat template; give one with `chat_template: file.jinja`"
        )
    config = getattr(loaded.config, "text_config", None) or loaded.config
    return Engine(loaded.eval(), processor, vision, getattr(config, "max_position_embeddings", None))


def _weights(dtype: str, quantization: str, device: str) -> dict[str, Any]:
    import torch
    import transformers

    name = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
    options: dict[str, Any] = {name: "auto" if dtype == "auto" else getattr(torch, dtype)}
    if quantization != "none":
        config = transformers.BitsAndBytesConfig(
            load_in_8bit=quantization == "8bit", load_in_4bit=quantization == "4bit"
        )
        options |= {"quantization_config": config, "device_map": device}
    return options


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    from PIL import Image

    return {"type": "image", "image": Image.open(io.BytesIO(part.data)).convert("RGB")}
