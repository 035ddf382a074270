"""A pipeline from logits to tokens, put together from steps; steps that stand side by side become one operator.

>>> import numpy as np
>>> pipe = LogitsPipe([Temperature(), Softmax(), TopK(), TopP(), Sample()])
>>> pipe.compiled_ops
[FusedSampleOp(LOGITS -> INDICES: top_k, top_p, temperature)]
>>> logits = np.float32([[0, 9, 1], [7, 0, 0]])
>>> pipe(logits, temperature=0.5, top_k=2, top_p=0.9, seed=1, offset=0).tolist()
[1, 0]

Parameters (`temperature`, `top_k`, `top_p`, `min_p`: numbers, or tensors with one for each row; `indices`, `generator`,
`seed` and `offset` of a sample; those of `strobe.apply_penalties` and `apply_token_bitmask`) come with the call, or with a step: `TopK(top_k=50)`. Steps of one's own derive from
`LogitsProcessor` and give operators, which derive from `Op`; `FusionRule` says which of them become one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from . import logits, sampling
from ._frameworks import find_framework, framework_of

Tensor = Any


class TensorType(Enum):
    """What the numbers of a tensor are."""

    LOGITS = auto()
    PROBS = auto()
    INDICES = auto()

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


@dataclass(frozen=True)
class TaggedTensor:
    """A tensor on its way through a pipeline."""

    data: Tensor
    type: TensorType

    @staticmethod
    def logits(t: Tensor) -> TaggedTensor:
        return TaggedTensor(t, TensorType.LOGITS)

    @staticmethod
    def probs(t: Tensor) -> TaggedTensor:
        return TaggedTensor(t, TensorType.PROBS)

    @staticmethod
    def indices(t: Tensor) -> TaggedTensor:
        return TaggedTensor(t, TensorType.INDICES)

    @property
    def shape(self) -> Any:
        return self.data.shape

    @property
    def device(self) -> Any:
        return self.data.device

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    def size(self, dim: Optional[int] = None) -> Any:
        return self.data.shape if dim is None else self.data.shape[dim]


class Op(ABC):
    """A step that knows what it takes and what it gives."""

    IN: Optional[TensorType] = None
    OUT: Optional[TensorType] = None

    def __init__(self) -> None:
        if self.IN is None or self.OUT is None:
            raise ValueError(f"{type(self).__name__}: expected the tensor types IN and OUT of the class, got none")

    @abstractmethod
    def __call__(self, tensor: TaggedTensor, **kwargs: Any) -> TaggedTensor:
        """The step on a tensor of type IN; `kwargs` are those of the pipeline's call."""

    def _validate_input_type(self, tensor: TaggedTensor) -> TensorType:
        if tensor.type != self.IN:
            raise ValueError(f"{type(self).__name__}: expected {self.IN}, got {tensor.type}")
        return self.OUT  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.IN} -> {self.OUT})"


class ParameterizedOp(Op):
    """A step with parameters that its maker gives, or the call."""

    def __init__(self, **default_params: Any) -> None:
        super().__init__()
        self.default_params = default_params

    def _get_param(self, name: str, kwargs: dict[str, Any], required: bool = True) -> Any:
        value = kwargs.get(name, self.default_params.get(name))
        if value is None and required:
            raise ValueError(f"{type(self).__name__}: {name}: expected one with the call or the step, got none")
        return value


class _Step(ParameterizedOp):
    """An operator of the library on the tensor's data."""

    def __call__(self, tensor: TaggedTensor, **kwargs: Any) -> TaggedTensor:
        return TaggedTensor(self._apply(tensor.data, kwargs), self._validate_input_type(tensor))

    @abstractmethod
    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor: ...


def _by_row(value: Any) -> Any:
    """A parameter beside [num_rows, vocab_size]."""
    return value if find_framework(value) is None else value.reshape(-1, 1)


class TemperatureOp(_Step):
    IN = OUT = TensorType.LOGITS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return data / _by_row(self._get_param("temperature", kwargs))


class SoftmaxOp(_Step):
    IN, OUT = TensorType.LOGITS, TensorType.PROBS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return sampling.softmax(data)


class TemperatureSoftmaxOp(SoftmaxOp):
    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return sampling.softmax(data, self._get_param("temperature", kwargs))


class LogitsTopKOp(_Step):
    IN = OUT = TensorType.LOGITS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return sampling.top_k_mask_logits(data, self._get_param("top_k", kwargs))


_OF_PENALTIES = ("prompt_mask", "slots", "repetition_penalty", "frequency_penalty", "presence_penalty")


class PenaltiesOp(_Step):
    IN = OUT = TensorType.LOGITS

    def __init__(self, masked: bool = False, **default_params: Any) -> None:
        super().__init__(**default_params)
        self.masked = masked  # a bit mask follows in the same pass

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        given = {name: self._get_param(name, kwargs, required=False) for name in _OF_PENALTIES}
        if self.masked:
            given["bitmask"] = self._get_param("bitmask", kwargs)
            given["bitmask_indices"] = self._get_param("bitmask_indices", kwargs, required=False)
        given = {name: value for name, value in given.items() if value is not None}
        return logits.apply_penalties(data, self._get_param("counts", kwargs), **given)


class TokenBitmaskOp(_Step):
    IN = OUT = TensorType.LOGITS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        indices = self._get_param("bitmask_indices", kwargs, required=False)
        return logits.apply_token_bitmask(data, self._get_param("bitmask", kwargs), indices)


class ProbsTopKOp(_Step):
    IN = OUT = TensorType.PROBS

    def __init__(self, joint_topk_topp: bool = False, **default_params: Any) -> None:
        super().__init__(**default_params)
        self.joint_topk_topp = joint_topk_topp

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return sampling.top_k_renorm_probs(data, self._get_param("top_k", kwargs))


class TopPOp(_Step):
    IN = OUT = TensorType.PROBS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return sampling.top_p_renorm_probs(data, self._get_param("top_p", kwargs))


class MinPOp(_Step):
    IN = OUT = TensorType.PROBS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        min_p = _by_row(self._get_param("min_p", kwargs))
        is_torch = framework_of(data, "MinP: probs").name == "torch"
        most = data.amax(-1, keepdim=True) if is_torch else data.max(-1, keepdims=True)
        kept = data * (data >= min_p * most)
        return kept / (kept.sum(-1, keepdim=True) if is_torch else kept.sum(-1, keepdims=True))


_OF_A_SAMPLE = ("indices", "generator", "seed", "offset")


class ProbsSampleOp(_Step):
    IN, OUT = TensorType.PROBS, TensorType.INDICES

    def __init__(self, deterministic: bool = True, **default_params: Any) -> None:
        super().__init__(**default_params)
        self.deterministic = deterministic

    def _draw(self, function: Callable[..., Tensor], kwargs: dict[str, Any], *args: Any, **named: Any) -> Tensor:
        optional = {name: self._get_param(name, kwargs, required=False) for name in _OF_A_SAMPLE}
        return function(*args, deterministic=self.deterministic, **optional, **named)

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return self._draw(sampling.sampling_from_probs, kwargs, data)


class LogitsSampleOp(ProbsSampleOp):
    IN = TensorType.LOGITS

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        return self._draw(sampling.sampling_from_logits, kwargs, data)


class FilteredSampleOp(ProbsSampleOp):
    """Filters and the sample behind them."""

    def __init__(self, filters: Sequence[str], joint: bool, deterministic: bool = True, **default_params: Any) -> None:
        super().__init__(deterministic, **default_params)
        self.filters = tuple(filters)
        self.order = {"filter_apply_order": "joint" if joint else "top_k_first"} if len(self.filters) == 2 else {}

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        function = getattr(sampling, f"{'_'.join(self.filters)}_sampling_from_probs")
        return self._draw(function, kwargs, data, *(self._get_param(name, kwargs) for name in self.filters), **self.order)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.IN} -> {self.OUT}: {', '.join(self.filters)})"


class FusedSampleOp(ProbsSampleOp):
    """Temperature, softmax, filters and the sample behind them: one kernel that reads the logits."""

    IN = TensorType.LOGITS

    def __init__(self, names: Sequence[str], joint: bool, deterministic: bool = True, **default_params: Any) -> None:
        super().__init__(deterministic, **default_params)
        self.names, self.joint = tuple(names), joint

    def _apply(self, data: Tensor, kwargs: dict[str, Any]) -> Tensor:
        given = {name: self._get_param(name, kwargs) for name in self.names}
        indices, generator, seed, offset = (self._get_param(name, kwargs, required=False) for name in _OF_A_SAMPLE)
        return sampling._sample(
            "sampling_from_logits", data, indices, generator, False, seed, offset, False, joint=self.joint, **given
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.IN} -> {self.OUT}: {', '.join(self.names)})"


class LogitsProcessor(ABC):
    """A step as users name it, with parameters that hold unless the call brings others."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    @abstractmethod
    def legalize(self, input_type: TensorType) -> list[Op]:
        """The operators that do it on `input_type`. Raises ValueError when there are none."""

    def _only(self, input_type: TensorType, ops: Mapping[TensorType, Callable[..., Op]], *args: Any) -> list[Op]:
        if input_type not in ops:
            raise ValueError(f"{type(self).__name__}: expected {' or '.join(map(str, ops))}, got {input_type}")
        return [ops[input_type](*args, **self.params)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


class Temperature(LogitsProcessor):
    """Divides logits by `temperature`."""

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.LOGITS: TemperatureOp})


class Penalties(LogitsProcessor):
    """Repetition, frequency and presence penalties, by the names of `strobe.apply_penalties`."""

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.LOGITS: PenaltiesOp})


class TokenBitmask(LogitsProcessor):
    """Keeps the tokens that `bitmask` allows, as `strobe.apply_token_bitmask`."""

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.LOGITS: TokenBitmaskOp})


class Softmax(LogitsProcessor):
    """Probabilities of logits."""

    def __init__(self, enable_pdl: Optional[bool] = None, **params: Any) -> None:
        super().__init__(**params)

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.LOGITS: SoftmaxOp})


class TopK(LogitsProcessor):
    """Keeps the `top_k` largest: of logits, the others become -inf; of probabilities, the others become 0 and the rest is
    brought to the sum 1. With `joint_topk_topp` a TopP that follows looks at the probabilities before this step."""

    def __init__(self, joint_topk_topp: bool = False, **params: Any) -> None:
        super().__init__(**params)
        self.joint_topk_topp = joint_topk_topp

    def legalize(self, input_type: TensorType) -> list[Op]:
        args = [self.joint_topk_topp] if input_type is TensorType.PROBS else []
        return self._only(input_type, {TensorType.LOGITS: LogitsTopKOp, TensorType.PROBS: ProbsTopKOp}, *args)


class TopP(LogitsProcessor):
    """Keeps the most probable tokens that have `top_p` of the weight, brought to the sum 1."""

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.PROBS: TopPOp})


class MinP(LogitsProcessor):
    """Keeps tokens of at least `min_p` times the largest probability, brought to the sum 1."""

    def legalize(self, input_type: TensorType) -> list[Op]:
        return self._only(input_type, {TensorType.PROBS: MinPOp})


class Sample(LogitsProcessor):
    """Draws a token of each row."""

    def __init__(self, deterministic: bool = True, **params: Any) -> None:
        super().__init__(**params)
        self.deterministic = deterministic

    def legalize(self, input_type: TensorType) -> list[Op]:
        kinds = {TensorType.LOGITS: LogitsSampleOp, TensorType.PROBS: ProbsSampleOp}
        return self._only(input_type, kinds, self.deterministic)


class CompileError(Exception):
    """Operators that do not fit one another."""


class LegalizationError(Exception):
    """Steps that do not take what the steps before them give."""


class FusionRule(NamedTuple):
    """Operators of the types `pattern`, side by side, become build(them) where guard(them) holds; rules of larger `prio`
    come first."""

    pattern: tuple[type, ...]
    guard: Callable[[list[Op]], bool]
    build: Callable[[list[Op]], Op]
    prio: int = 0


ValidityCheck = Callable[[list[Op]], None]


def _parameters(ops: list[Op]) -> dict[str, Any]:
    return {name: value for op in ops for name, value in op.default_params.items()}  # type: ignore[attr-defined]


def _temperature_softmax(ops: list[Op]) -> Op:
    return TemperatureSoftmaxOp(**_parameters(ops))


def _unmasked(ops: list[Op]) -> bool:
    return not ops[0].masked  # type: ignore[attr-defined]


def _masked_penalties(ops: list[Op]) -> Op:
    return PenaltiesOp(masked=True, **_parameters(ops))


_NAMES = {ProbsTopKOp: "top_k", TopPOp: "top_p", MinPOp: "min_p"}


def _filtered_sample(ops: list[Op]) -> Op:
    *filters, sample = ops
    names = [_NAMES[type(op)] for op in filters]
    joint = getattr(filters[0], "joint_topk_topp", False)
    return FilteredSampleOp(names, joint, sample.deterministic, **_parameters(ops))  # type: ignore[attr-defined]


def _always(ops: list[Op]) -> bool:
    return True


def _fused_sample(ops: list[Op]) -> Op:
    """A sample from logits that has taken in the steps before it: _NAMES and the temperature say which."""
    *steps, sample = ops
    names = [*getattr(sample, "filters", ()), *getattr(sample, "names", ())]
    names += [_OF_LOGITS[type(op)] for op in steps if type(op) in _OF_LOGITS]
    joint = getattr(sample, "joint", False) or "joint" in getattr(sample, "order", {}).values()
    return FusedSampleOp(names, joint, sample.deterministic, **_parameters(ops))  # type: ignore[attr-defined]


_OF_LOGITS = {TemperatureOp: "temperature", TemperatureSoftmaxOp: "temperature", LogitsTopKOp: "top_k"}


def _adds_one(ops: list[Op]) -> bool:
    """Whether the sample does not filter so already; by the order of the steps top_k comes before top_p."""
    return _OF_LOGITS[type(ops[0])] not in getattr(ops[1], "names", ())


_SAMPLES = (ProbsSampleOp, FilteredSampleOp)
_OF_LOGITS_SAMPLES = (LogitsSampleOp, FusedSampleOp)

_RULES = [
    FusionRule((TemperatureOp, SoftmaxOp), _always, _temperature_softmax),
    FusionRule((PenaltiesOp, TokenBitmaskOp), _unmasked, _masked_penalties),
    FusionRule((ProbsTopKOp, TopPOp, ProbsSampleOp), _always, _filtered_sample, prio=1),
    *(FusionRule((kind, ProbsSampleOp), _always, _filtered_sample) for kind in _NAMES),
    *(FusionRule((made, kind), _always, _fused_sample) for made in (SoftmaxOp, TemperatureSoftmaxOp) for kind in _SAMPLES),
    *(FusionRule((step, kind), _adds_one, _fused_sample) for step in (TemperatureOp, LogitsTopKOp) for kind in _OF_LOGITS_SAMPLES),
]


class Compiler:
    """Checks operators and makes fewer of them."""

    def __init__(self) -> None:
        self.rules = list(_RULES)
        self.validity_checks: list[ValidityCheck] = []

    def register_fusion_rule(self, rule: FusionRule) -> None:
        self.rules.append(rule)

    def register_validity_check(self, check: ValidityCheck) -> None:
        """`check` gets the operators and raises CompileError."""
        self.validity_checks.append(check)

    def compile(self, ops: list[Op]) -> list[Op]:
        if not ops:
            raise CompileError("expected at least one operator, got none")
        for before, after in zip(ops, ops[1:]):
            if before.OUT != after.IN:
                raise CompileError(f"{after!r}: expected {after.IN} from the operator before it, got {before.OUT} of {before!r}")
        for check in self.validity_checks:
            check(ops)
        ops = list(ops)
        rules = sorted(self.rules, key=lambda rule: -rule.prio)
        while self._fuse_once(ops, rules):
            pass
        return ops

    @staticmethod
    def _fuse_once(ops: list[Op], rules: list[FusionRule]) -> bool:
        for rule in rules:
            size = len(rule.pattern)
            for at in range(len(ops) - size + 1):
                window = ops[at : at + size]
                if [type(op) for op in window] == list(rule.pattern) and rule.guard(window):
                    ops[at : at + size] = [rule.build(window)]
                    return True
        return False


def compile_pipeline(
    ops: list[Op],
    custom_fusion_rules: Optional[list[FusionRule]] = None,
    custom_validity_checks: Optional[list[ValidityCheck]] = None,
) -> list[Op]:
    """The operators, checked, with neighbours made one where a rule says so. Raises CompileError."""
    compiler = Compiler()
    for rule in custom_fusion_rules or []:
        compiler.register_fusion_rule(rule)
    for check in custom_validity_checks or []:
        compiler.register_validity_check(check)
    return compiler.compile(ops)


def legalize_processors(processors: Sequence[LogitsProcessor], initial_type: TensorType = TensorType.LOGITS) -> list[Op]:
    """The operators of steps, each on what the step before it gives. Raises LegalizationError."""
    if not processors:
        raise LegalizationError("expected at least one step, got none")
    ops: list[Op] = []
    for number, processor in enumerate(processors):
        kind = ops[-1].OUT if ops else initial_type
        try:
            made = processor.legalize(kind)  # type: ignore[arg-type]
        except ValueError as error:
            raise LegalizationError(f"step {number}: {error}") from error
        if not made:
            raise LegalizationError(f"step {number}: {processor!r}: expected operators, got none")
        ops += made
    return ops


def _initial_type(processor: LogitsProcessor) -> TensorType:
    """The only type that a first step takes."""
    taken = []
    for kind in (TensorType.LOGITS, TensorType.PROBS):
        try:
            processor.legalize(kind)
        except ValueError:
            continue
        taken.append(kind)
    if len(taken) != 1:
        names = " and ".join(map(str, taken)) or "neither LOGITS nor PROBS"
        raise LegalizationError(f"input_type: expected one, since {processor!r} takes {names}")
    return taken[0]


class LogitsPipe:
    """Steps in a row, called with logits or probabilities [num_rows, vocab_size] of any framework.

    Args:
        processors: the steps.
        compile: make steps one where rules say so; `compile()` does it later.
        input_type: LOGITS or PROBS; needed where the first step takes both.
        custom_fusion_rules, custom_validity_checks: beside those that are there.

    Raises ValueError: steps that do not fit one another, a parameter that neither call nor step has, and what the operators
    raise.
    """

    def __init__(
        self,
        processors: Sequence[LogitsProcessor],
        compile: bool = True,
        input_type: Optional[TensorType] = None,
        custom_fusion_rules: Optional[list[FusionRule]] = None,
        custom_validity_checks: Optional[list[ValidityCheck]] = None,
    ) -> None:
        if not processors:
            raise ValueError("LogitsPipe: processors: expected at least one, got none")
        self.processors = list(processors)
        self.compiled_ops: Optional[list[Op]] = None
        try:
            self._input_type = _initial_type(self.processors[0]) if input_type is None else input_type
            self.ops = legalize_processors(self.processors, self._input_type)
        except LegalizationError as error:
            raise ValueError(f"LogitsPipe: {error}") from error
        if compile:
            self.compile(custom_fusion_rules, custom_validity_checks)

    @property
    def initial_type(self) -> TensorType:
        return self._input_type

    def compile(
        self,
        custom_fusion_rules: Optional[list[FusionRule]] = None,
        custom_validity_checks: Optional[list[ValidityCheck]] = None,
    ) -> None:
        """Makes steps one where rules say so."""
        try:
            self.compiled_ops = compile_pipeline(self.ops, custom_fusion_rules, custom_validity_checks)
        except CompileError as error:
            raise ValueError(f"LogitsPipe: {error}") from error

    def __call__(self, x: Any, **kwargs: Any) -> Tensor:
        """What the last step gives, as a plain tensor."""
        tensor = x if isinstance(x, TaggedTensor) else TaggedTensor(x, self._input_type)
        if tensor.type != self._input_type:
            raise ValueError(f"LogitsPipe: expected {self._input_type}, got {tensor.type}")
        for op in self.ops if self.compiled_ops is None else self.compiled_ops:
            tensor = op(tensor, **kwargs)
        return tensor.data

    def __repr__(self) -> str:
        return f"LogitsPipe({self.processors!r}, {self._input_type})"
