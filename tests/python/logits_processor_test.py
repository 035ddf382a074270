"""Pipelines of logits: each step against FP64, fused ones against the steps one by one, and what does not fit."""

import numpy as np
import pytest

from strobe import logits_processor as lp
from strobe import sampling
from strobe.logits_processor import LogitsPipe, MinP, Sample, Softmax, Temperature, TensorType, TopK, TopP

rng = np.random.default_rng(5)
ROWS, VOCAB = 7, 301
LOGITS = (3 * rng.standard_normal((ROWS, VOCAB))).astype(np.float32)
PROBS = sampling.softmax(LOGITS)
SEED = {"seed": 11, "offset": 4}


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def only(keep, probs=PROBS):
    kept = np.where(keep, probs, 0).astype(np.float64)
    return kept / kept.sum(-1, keepdims=True)


def smallest_of_top_p(probs, p):
    ordered = -np.sort(-probs.astype(np.float64), -1)
    return np.take_along_axis(ordered, (np.cumsum(ordered, -1) < p).sum(-1, keepdims=True), -1)


by_row = np.linspace(0.5, 2, ROWS).astype(np.float32)
STEPS = {
    "temperature": ([Temperature()], TensorType.LOGITS, {"temperature": by_row}, LOGITS / by_row[:, None].astype(np.float64)),
    "softmax": ([Softmax()], None, {}, softmax(LOGITS.astype(np.float64))),
    "both": ([Temperature(temperature=9.0), Softmax()], None, {"temperature": by_row}, softmax(LOGITS / by_row[:, None].astype(np.float64))),
    "top_k of logits": ([TopK(top_k=3)], TensorType.LOGITS, {}, np.where(LOGITS >= np.sort(LOGITS)[:, [-3]], LOGITS, -np.inf)),
    "top_k": ([TopK()], TensorType.PROBS, {"top_k": 3}, only(PROBS >= np.sort(PROBS)[:, [-3]])),
    "top_p": ([TopP()], None, {"top_p": 0.7}, only(PROBS >= smallest_of_top_p(PROBS, 0.7))),
    "min_p": ([MinP(min_p=0.1)], None, {}, only(PROBS >= np.float32(0.1) * PROBS.max(-1, keepdims=True))),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_steps_compute_what_they_say(name):
    steps, kind, given, want = STEPS[name]
    for compiled in (True, False):
        pipe = LogitsPipe(steps, compile=compiled, input_type=kind)
        got = pipe(LOGITS if pipe.initial_type is TensorType.LOGITS else PROBS, **given)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7)


SAMPLES = {
    "none": ([Sample()], {}, "sampling_from_probs"),
    "top_k": ([TopK(), Sample()], {"top_k": 5}, "top_k_sampling_from_probs"),
    "top_p": ([TopP(), Sample()], {"top_p": 0.6}, "top_p_sampling_from_probs"),
    "min_p": ([MinP(), Sample()], {"min_p": 0.2}, "min_p_sampling_from_probs"),
    "both": ([TopK(), TopP(), Sample()], {"top_k": 5, "top_p": 0.6}, "top_k_top_p_sampling_from_probs"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_one_operator_and_its_tokens(name, monkeypatch):
    steps, given, function = SAMPLES[name]
    pipe = LogitsPipe(steps, input_type=TensorType.PROBS)
    assert len(pipe.compiled_ops) == 1
    indices = np.int32([6, 0, 0, 3])
    want = getattr(sampling, function)(PROBS, *given.values(), indices=indices, **SEED)
    assert pipe(PROBS, indices=indices, **given, **SEED).tolist() == want.tolist()
    one_by_one = LogitsPipe(steps, compile=False, input_type=TensorType.PROBS)
    assert len(one_by_one.ops) == len(steps)
    allowed = {"top_k": 5, "top_p": 301, "min_p": 301, "both": 5}.get(name, 301)
    for seed in range(20):
        tokens = one_by_one(PROBS, seed=seed, offset=0, **given)
        assert (np.argsort(np.argsort(-PROBS, -1), -1)[np.arange(ROWS), tokens] < allowed).all()


def test_joint_filters_look_at_the_same_probabilities():
    probs = np.float32([[0.4, 0.3, 0.2, 0.1]])
    # Behind top-k the first token has 0.4 / 0.7 of the weight, enough for 0.55; before it 0.4, which is not.
    pipes = [LogitsPipe([TopK(flag, top_k=2), TopP(top_p=0.55), Sample()], input_type=TensorType.PROBS) for flag in (False, True)]
    drawn = [{int(pipe(probs, seed=seed, offset=0)[0]) for seed in range(60)} for pipe in pipes]
    assert drawn == [{0}, {0, 1}]


FROM_LOGITS = {
    "draw": ([Sample()], "LogitsSampleOp(LOGITS -> INDICES)"),
    "temperature": ([Temperature(), Sample()], "FusedSampleOp(LOGITS -> INDICES: temperature)"),
    "min_p": ([Temperature(), Softmax(), MinP(), Sample()], "FusedSampleOp(LOGITS -> INDICES: min_p, temperature)"),
    "both": ([Softmax(), TopK(), TopP(), Sample()], "FusedSampleOp(LOGITS -> INDICES: top_k, top_p)"),
    "top_k first": (
        [TopK(), Temperature(), Softmax(), TopP(), Sample()],
        "FusedSampleOp(LOGITS -> INDICES: top_p, temperature, top_k)",
    ),
    "top_k twice": (
        [TopK(), Softmax(), TopK(), Sample()],
        "LogitsTopKOp(LOGITS -> LOGITS), FusedSampleOp(LOGITS -> INDICES: top_k)",
    ),
    # Top-p looks at what is there before top-k: another call.
    "top_p first": (
        [Temperature(), Softmax(), TopP(), TopK(), Sample()],
        "TemperatureSoftmaxOp(LOGITS -> PROBS), TopPOp(PROBS -> PROBS), FilteredSampleOp(PROBS -> INDICES: top_k)",
    ),
}


@pytest.mark.parametrize("name", FROM_LOGITS)
def test_steps_from_logits_to_tokens_are_one_kernel_where_that_is_the_same(name):
    steps, compiled = FROM_LOGITS[name]
    pipe, one_by_one = (LogitsPipe(steps, compile=flag, input_type=TensorType.LOGITS) for flag in (True, False))
    assert repr(pipe.compiled_ops) == f"[{compiled}]"
    logits = np.tile(LOGITS, (100, 1))
    rows = {
        "temperature": np.linspace(0.5, 2, len(logits), dtype=np.float32), "top_k": np.arange(1, len(logits) + 1, dtype=np.int32),
        "top_p": np.linspace(0.05, 1, len(logits), dtype=np.float32), "min_p": np.linspace(0.01, 1, len(logits), dtype=np.float32),
    }  # fmt: skip
    for given in ({"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.02}, rows):
        got, want = pipe(logits, **given, **SEED), one_by_one(logits, **given, **SEED)
        # Between two calls probabilities are rounded: a draw close to a border may fall on its other side.
        assert np.mean(got != want) <= 0.005
    other = pipe(logits, **{**given, "temperature": 3.0, "top_k": 2, "top_p": 1.0, "min_p": 0.001}, **SEED)
    assert name == "draw" or np.mean(got != other) > 0.05  # the negative control


def test_joint_filters_of_logits():
    logits = np.log(np.float32([[0.4, 0.3, 0.2, 0.1]]))
    pipes = [LogitsPipe([Softmax(), TopK(flag, top_k=2), TopP(top_p=0.55), Sample()]) for flag in (False, True)]
    assert [len(pipe.compiled_ops) for pipe in pipes] == [1, 1]
    drawn = [{int(pipe(logits, seed=seed, offset=0)[0]) for seed in range(60)} for pipe in pipes]
    assert drawn == [{0}, {0, 1}]


def test_tagged_logits():
    logits_sample = LogitsPipe([TopK(top_k=1), Sample()], input_type=TensorType.LOGITS)
    assert logits_sample(lp.TaggedTensor.logits(LOGITS), **SEED).tolist() == LOGITS.argmax(-1).tolist()


class Penalty(lp.LogitsProcessor):
    def legalize(self, input_type):
        return [PenaltyOp(**self.params)]


class PenaltyOp(lp.ParameterizedOp):
    IN = OUT = TensorType.LOGITS

    def __call__(self, tensor, **kwargs):
        return lp.TaggedTensor(tensor.data - self._get_param("penalty", kwargs), self._validate_input_type(tensor))


def test_steps_and_rules_of_ones_own():
    rule = lp.FusionRule(
        (PenaltyOp, PenaltyOp), lambda ops: ops[0].default_params.keys() == {"penalty"},
        lambda ops: PenaltyOp(penalty=sum(op.default_params["penalty"] for op in ops)), prio=2,
    )  # fmt: skip
    steps = [Penalty(penalty=1.0), Penalty(penalty=2.0), Penalty(penalty=3.0), Softmax()]
    pipe = LogitsPipe(steps, input_type=TensorType.LOGITS, custom_fusion_rules=[rule])
    assert repr(pipe.compiled_ops) == "[PenaltyOp(LOGITS -> LOGITS), SoftmaxOp(LOGITS -> PROBS)]"
    assert pipe.compiled_ops[0].default_params == {"penalty": 6.0}
    np.testing.assert_array_equal(pipe(LOGITS), sampling.softmax(LOGITS - np.float32(6)))

    def check(ops):
        if any(isinstance(op, PenaltyOp) for op in ops):
            raise lp.CompileError("no penalties here")

    with pytest.raises(ValueError, match="LogitsPipe: no penalties here"):
        LogitsPipe(steps, input_type=TensorType.LOGITS, custom_validity_checks=[check])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LogitsPipe([]), "processors: expected at least one"),
        (lambda: LogitsPipe([TopK()]), r"input_type: expected one, since TopK\(\) takes LOGITS and PROBS"),
        (lambda: LogitsPipe([Softmax(), Softmax()]), "step 1: Softmax: expected LOGITS, got PROBS"),
        (lambda: LogitsPipe([TopP()], input_type=TensorType.LOGITS), "step 0: TopP: expected PROBS, got LOGITS"),
        (lambda: LogitsPipe([TopP(), Sample(), TopP()]), "step 2: TopP: expected PROBS, got INDICES"),
        (lambda: LogitsPipe([TopP()])(PROBS), "TopPOp: top_p: expected one with the call or the step, got none"),
        (lambda: LogitsPipe([TopP()])(lp.TaggedTensor.logits(PROBS), top_p=0.5), "expected PROBS, got LOGITS"),
        (lambda: LogitsPipe([TopP()])(PROBS, top_p=1.5), "top_p"),
        (lambda: lp.compile_pipeline([lp.TopPOp(), lp.SoftmaxOp()]), "expected LOGITS from the operator before it, got PROBS"),
        (lambda: lp.compile_pipeline([]), "expected at least one operator"),
        (lambda: lp.legalize_processors([]), "expected at least one step"),
        (lambda: lp.SoftmaxOp()(lp.TaggedTensor.probs(PROBS)), "SoftmaxOp: expected LOGITS, got PROBS"),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises((ValueError, lp.CompileError, lp.LegalizationError), match=message):
        make()
    assert LogitsPipe([Softmax()])(lp.TaggedTensor.logits(LOGITS)).shape == lp.TaggedTensor.probs(PROBS).shape
