/* A C program that uses the installed library's C interface: an operator, an error, a plan and its run. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strobe/c_api.h>

static int failures;

static void check(int ok, const char* what) {
  printf("%s: %s\n", what, ok ? "ok" : "FAILED");
  if (!ok) printf("  the last error is: %s\n", strobe_last_error());
  failures += !ok;
}

static StrobeTensor tensor(void* data, uint8_t code, uint8_t bits, int64_t* shape, int32_t rank) {
  StrobeTensor view = {data, 1, 0, rank, code, bits, 1, shape, NULL, 0};
  return view;
}

/* A row of 3 and 4 has the root mean square sqrt(12.5). */
static void an_operator(void) {
  float x[] = {3, 4}, w[] = {1, 2}, y[] = {0, 0};
  int64_t row[] = {1, 2}, column[] = {2}, wrong[] = {1};
  StrobeTensor input = tensor(x, 2, 32, row, 2), weight = tensor(w, 2, 32, column, 1),
               out = tensor(y, 2, 32, row, 2), short_weight = tensor(w, 2, 32, wrong, 1);
  const char* arguments[] = {"out", "eps", "input", "weight"};
  StrobeFunction* rmsnorm = NULL;
  check(strobe_bind("rmsnorm", arguments, 4, "auto", &rmsnorm) == STROBE_OK, "rmsnorm is bound");

  StrobeValue values[] = {strobe_tensor(&out), strobe_float(0), strobe_tensor(&input), strobe_tensor(&weight)};
  StrobeLaunch launch = {sizeof launch, NULL};
  check(strobe_call(rmsnorm, values, 4, &launch) == STROBE_OK, "rmsnorm runs");
  const double scale = 1 / sqrt(12.5);
  check(fabs(y[0] - 3 * scale) < 1e-6 && fabs(y[1] - 8 * scale) < 1e-6, "rmsnorm is right");

  values[3] = strobe_tensor(&short_weight);
  check(strobe_call(rmsnorm, values, 4, NULL) == STROBE_INVALID_ARGUMENT, "a short weight is refused");
  check(strcmp(strobe_last_error(), "rmsnorm: weight: expected shape [hidden = 2], got f32[1]") == 0,
        "the message says what was wrong");
  strobe_release(rmsnorm);
}

/* One query attends to two tokens with equal keys, so that the values are averaged. */
static void a_plan(void) {
  float q[8] = {0}, k[16] = {0}, v[16], o[8];
  for (int i = 0; i < 16; ++i) v[i] = (float)i;
  int32_t qo[] = {0, 1}, kv[] = {0, 2};
  int64_t two[] = {2}, q_shape[] = {1, 1, 8}, kv_shape[] = {2, 1, 8};
  StrobeTensor qo_indptr = tensor(qo, 0, 32, two, 1), kv_indptr = tensor(kv, 0, 32, two, 1),
               query = tensor(q, 2, 32, q_shape, 3), key = tensor(k, 2, 32, kv_shape, 3),
               value = tensor(v, 2, 32, kv_shape, 3), out = tensor(o, 2, 32, q_shape, 3);
  const char* plan_arguments[] = {"qo_indptr",   "kv_indptr", "num_qo_heads", "num_kv_heads",
                                  "head_dim_qk", "q_dtype",   "kv_dtype"};
  const char* run_arguments[] = {"q", "k", "v", "out"};
  StrobeFunction *plan = NULL, *run = NULL;
  check(strobe_bind("batch_attention_ragged", plan_arguments, 7, NULL, &plan) == STROBE_OK, "a plan is bound");
  check(strobe_bind_run(plan, run_arguments, 4, &run) == STROBE_OK, "its run is bound");

  StrobeValue run_values[] = {strobe_tensor(&query), strobe_tensor(&key), strobe_tensor(&value),
                              strobe_tensor(&out)};
  check(strobe_call(run, run_values, 4, NULL) == STROBE_INVALID_ARGUMENT, "a run before its plan is refused");
  StrobeValue plan_values[] = {strobe_tensor(&qo_indptr), strobe_tensor(&kv_indptr), strobe_int(1),
                               strobe_int(1),             strobe_int(8),             strobe_string("f32"),
                               strobe_string("f32")};
  check(strobe_call(plan, plan_values, 7, NULL) == STROBE_OK, "the plan is made");
  check(strobe_workspace_bytes(plan) > 0, "it says how much workspace it takes");
  strobe_release(plan);
  check(strobe_call(run, run_values, 4, NULL) == STROBE_OK, "the run outlives the plan's handle");
  check(fabsf(o[0] - 4) < 1e-6f && fabsf(o[7] - 11) < 1e-6f, "attention is right");
  strobe_release(run);
}

int main(void) {
  check(strobe_abi_version() >> 16 == STROBE_ABI_MAJOR, "header and library agree");
  check(strstr(strobe_describe(), "\"name\":\"rmsnorm\"") != NULL, "the library describes its operators");
  an_operator();
  a_plan();
  return failures != 0;
}
