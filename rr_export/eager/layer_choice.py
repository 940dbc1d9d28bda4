"""Layer routing: run a layer or skip it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import nn

from rr_export.eager.calling import take_route
from rr_export.eager.choice import Choice, checked_policy
from rr_export.eager.gate import Gate
from rr_export.eager.learned import Learned
from rr_export.eager.plain_keys import INNER, LOGITS, has_plain_keys, name_inner, save_plainly
from rr_export.eager.recurrent_skip import check_recurrent, is_recurrent, skip_recurrent
from rr_export.eager.skip_default import Arguments, Derivation
from rr_export.eager.skip_names import Skip, asks_for_result, check_skip, named_part
from rr_export.eager.skip_results import Part, Passed, called, made, shape_of, shown, sizes_of
from rr_export.eager.tracers import active_tracer, caller, outside_compiled_code, recorder
from rr_export.eager.trial import try_layer
from rr_export.errors import RunError
from rr_export.laws.policies import Categorical, Policy

RUN = 1  # the route of a LayerChoice that runs its layer
LEARNED = ("_known", "_loading")  # attributes that calls and loaded state dicts leave behind
_MOST_KNOWN = 256  # kinds of calls that are remembered


@dataclass(frozen=True)
class _Known:
    """What is known of calls of one kind.

    Attributes:
        output: nesting and dimensions of what the layer returns for them.
        shown: what to call that in a message.
        part: what a skip returns; None also where ``skip`` says so.
    """

    output: Any
    shown: str
    part: Part


class LayerChoice(Choice):
    """Layer routing: run a layer or skip it. Route 0 skips, 1 runs.

    A layer that returns a tensor is skipped by returning the first positional argument, or the keyword argument named
    by ``hidden``. Of a tuple that is the first result; any other result is the argument of its name, the object that
    was handed in, or the only argument of its shape, and None is None. Recurrent layers of torch hand their state on
    (zeros, where they are given none). What could be nothing or several things that were handed in is refused when the
    layer is first called: ``skip`` says it.

    What the layer returns is learnt when it first runs; should the first call be a skip, the layer runs once to see
    it, and everything that it does is put back.

    Attributes of the layer can be read from the site (many models ask their layers for settings); its parameters,
    buffers and modules can be set there too. In state dicts its weights have the keys of the plain model; the logits of
    a learned policy are ``law.logits``, and stay as they are where a state dict has none.

    Args:
        layer: the layer.
        keep: P(run), in [0, 1]; shorthand for ``policy=Categorical((1 - keep, keep))``.
        policy: the law of the route, over (skip, run); instead of ``keep``.
        hidden: the keyword under which callers pass what a skip returns, if not positionally.
        skip: what a skip returns: a function of the layer's arguments, or, in the nesting of what the layer returns,
            names of arguments, ``"zeros like NAME"``, ``"zeros"`` (of the shape of that result) and None, such as
            ``skip=("hidden_states", "zeros", None)``. Nothing is learnt then, but shapes for ``"zeros"``.

    Raises:
        TypeError, ValueError: the layer is no module; not exactly one of ``keep`` and ``policy`` is given; ``skip``
            names an argument that the layer does not have; a recurrent layer changes the number of features.
    """

    kind = "layer"
    forward = take_route

    def __init__(
        self,
        layer: nn.Module,
        keep: float | None = None,
        *,
        policy: Policy | Learned | None = None,
        hidden: str | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise TypeError(f"LayerChoice: expected the layer to be an nn.Module, got {type(layer).__name__}; wrap it")
        if (keep is None) == (policy is None):
            raise ValueError(
                "LayerChoice: expected exactly one of keep= and policy=, got both or none; drop or add one"
            )
        if keep is not None:
            if isinstance(keep, torch.Tensor) and keep.numel() == 1:
                keep = keep.item()
            if not isinstance(keep, Real):
                raise TypeError(
                    f"LayerChoice: expected keep to be a number, got {type(keep).__name__}; give a law as policy="
                )
            if not 0 <= keep <= 1:
                raise ValueError(f"LayerChoice: expected keep in [0, 1], got {keep!r}; give the probability of running")
            policy = Categorical((1 - keep, keep))
        if hidden is not None and skip is not None:
            raise ValueError("LayerChoice: expected one of hidden= and skip=, got both; drop hidden=")
        if skip is not None:
            check_skip(layer, skip)
        elif is_recurrent(layer) and hidden is None:
            check_recurrent(layer)
        self.branch_names = ("skip", "run")
        self.hidden = hidden
        self._skip = skip
        self.layer = layer
        self.law = checked_policy("LayerChoice", policy, 2)
        self._known: dict[Any, _Known] = {}
        self._loading: tuple[str, bool, list[str]] = ("", True, [])  # prefix, whether keys are plain, what went wrong
        self.register_load_state_dict_post_hook(_name_plainly)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        """Looks the attribute up in the site, then in the layer."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            layer = self.__dict__.get("_modules", {}).get("layer")
            if layer is None or name.startswith("__"):
                raise
            return getattr(layer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Parameters, buffers and modules of the layer are set there; the policy is the site's.

        Raises:
            ValueError: the policy is learned, and in state dicts its logits would have a name that the layer uses.
        """
        own = self.__dict__.get("_modules", {})
        if name in ("policy", "law"):
            if isinstance(value, Learned) and LOGITS in self.layer.state_dict():
                raise ValueError(
                    f"LayerChoice: expected a layer without a weight of the name {LOGITS!r}, which the logits of a "
                    f"learned policy have in state dicts, got one in {type(self.layer).__name__}; rename it"
                )
            if isinstance(value, Gate) and any(key.startswith("routing_gate.") for key in self.layer.state_dict()):
                raise ValueError(
                    "LayerChoice: expected a layer without a module of the name 'routing_gate', which that of the gate "
                    f"has, got one in {type(self.layer).__name__}; rename it"
                )
            super().__setattr__(name, value)
            return
        owner = own.get("layer")
        while isinstance(owner, LayerChoice):
            owner = owner.layer
        if (
            owner is None
            or name in own
            or not any(name in held for held in (owner._parameters, owner._buffers, owner._modules))
        ):
            super().__setattr__(name, value)
        else:
            setattr(owner, name, value)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the state dict, in which the layer's weights have the keys of the plain model."""
        saved = super().state_dict(*args, **kwargs)
        save_plainly(saved, kwargs.get("prefix", args[1] if len(args) > 1 else ""))
        return saved

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, missing_keys: list[str],
        unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Takes keys of the plain model, and those with ``.layer``; called by torch, before it asks the layer."""
        own = {prefix + name for name in (*self._parameters, *self._buffers, *([LOGITS] if self._learns() else []))}
        gate = f"{prefix}routing_gate."
        keys = [key for key in state_dict if key.startswith(prefix) and key not in own and not key.startswith(gate)]
        plain = has_plain_keys(self.layer, [key[len(prefix) :] for key in keys])
        if plain:
            name_inner(state_dict, keys, prefix)
        self._loading = (prefix, plain, error_msgs)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def branch(self, index: int, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer's output (1) or what passes it by (0)."""
        if index == RUN:
            output = self.layer(*args, **kwargs)
            if recorder.get() is not None or active_tracer((args, kwargs)) is None:
                self._learn(args, kwargs, output)
            return output
        return self._skipped(args, kwargs)

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns (None, "layer"): skipping has no module."""
        return (None, "layer")

    def learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """From now on calls like this one can be skipped, where the layer returned ``output``.

        Raises:
            RunError: a skip has nothing to return, or ``skip`` returns something of another nesting.
        """
        self._learn(args, kwargs, output)
        with torch.no_grad():
            self._check_nesting(args, kwargs, self._skipped(args, kwargs))

    def _learns(self) -> bool:
        return isinstance(self.law, Learned)

    def _function(self) -> Callable[..., Any] | None:
        """What says what a skip returns, if it is a function."""
        if callable(self._skip):
            return self._skip
        if self._skip is None and self.hidden is None and is_recurrent(self.layer):
            return lambda *args, **kwargs: skip_recurrent(self.layer, *args, **kwargs)
        return None

    def _skipped(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = self._function()
        if function is not None:
            call = caller.get()
            output = function(*args, **kwargs) if call is None else call(function, args, kwargs)
            self._check_nesting(args, kwargs, output)
            return output
        if self._skip is not None and not asks_for_result(self._skip):
            return made(named_part(self.layer, self._skip, args, kwargs, None), args, kwargs)
        return made(self._known_part(args, kwargs), args, kwargs)

    @outside_compiled_code
    def _known_part(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Part:
        """What a skip returns for calls like this one; the layer is tried where that is not known yet."""
        known = self._find(args, kwargs)
        if known is not None:
            return known.part
        tracer = active_tracer((args, kwargs))
        if self._skip is None:
            self._hidden(args, kwargs)  # refused before the layer runs
        if tracer is not None:
            return self._part_in_trace(args, kwargs, tracer)
        try:
            args, kwargs, output = try_layer(self.layer, args, kwargs)
        except Exception as error:
            error.add_note(f"{called(self.layer)} ran its layer to learn what a skip returns; skip= says it")
            raise
        self._learn(args, kwargs, output)
        return self._known_part(args, kwargs)

    def _part_in_trace(self, args: tuple[Any, ...], kwargs: dict[str, Any], tracer: str) -> Part:
        """What a skip returns for a call that another tracer watches: the layer is dead code in what is traced."""
        try:
            output = self.layer(*args, **kwargs)
        except Exception as error:
            raise RunError(
                f"{called(self.layer)}: expected to know what the layer returns before {tracer} skips it, got "
                f"{type(error).__name__} where it was traced for that; call the model once eagerly, or give skip="
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._derived(args, kwargs, output)[0]

    @outside_compiled_code
    def _learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Remembers what a skip returns for calls like this one.

        Raises:
            RunError: a skip has nothing to return where the layer returns ``output``.
        """
        kind, known = shape_of(output, dtypes=False), self._find(args, kwargs)
        if known is not None and known.output == kind and recorder.get() is None:
            return
        if self._function() is not None or (self._skip is not None and not asks_for_result(self._skip)):
            part, of_sizes = None, False
        else:
            part, of_sizes = self._derived(args, kwargs, output)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        key = self._key(args, kwargs)
        self._known.pop(key, None)
        self._known[(key, sizes_of((args, kwargs))) if of_sizes else key] = _Known(kind, shown(output), part)

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Known | None:
        """What is known of calls like this one: of any sizes, or else of these."""
        key = self._key(args, kwargs)
        if key in self._known or (recorder.get() is None and active_tracer((args, kwargs)) is not None):
            return self._known.get(key)
        return self._known.get((key, sizes_of((args, kwargs))))

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What calls of one kind have in common, whatever the sizes."""
        return self.layer.training, shape_of(args), tuple(kwargs), shape_of(tuple(kwargs.values()))

    def _derived(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[Part, bool]:
        """What a skip returns, and whether that holds for arguments of these sizes only."""
        if self._skip is not None:
            return named_part(self.layer, self._skip, args, kwargs, output), True
        derivation = Derivation(Arguments(self.layer, args, kwargs), self._hidden(args, kwargs))
        part = derivation.part(output)
        return part, derivation.by_shape

    def _hidden(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Passed, Any]:
        if self.hidden is not None and self.hidden in kwargs:
            return Passed(self.hidden, None), kwargs[self.hidden]
        if args:
            return Arguments(self.layer, args[:1], {}).named()[0]
        raise RunError(
            f"{called(self.layer)}: expected a positional argument to return when skipping, "
            f"got keywords {sorted(kwargs)}; name one of them with hidden=, or with skip= what a skip returns"
        )

    @outside_compiled_code
    def _check_nesting(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Raises if a function returned something else than the layer is known to."""
        known = self._find(args, kwargs)
        if known is not None and known.output != shape_of(output, dtypes=False):
            raise RunError(
                f"{called(self.layer)}: expected skip= to return what the layer does, {known.shown}, got "
                f"{shown(output)}; return the same nesting, with tensors of as many dimensions"
            )


def _name_plainly(site: LayerChoice, told: Any) -> None:
    """What torch says of the keys has the names that they were given with; called by torch after it loaded them.

    The plain model has no logits: where they are not given, they stay as they are.
    """
    prefix, plain, errors = site._loading
    told.missing_keys[:] = [name for name in told.missing_keys if name != prefix + LOGITS]
    for names in (told.missing_keys, *([told.unexpected_keys, errors] if plain else [])):
        names[:] = [name.replace(prefix + INNER, prefix, 1) for name in names]
