/* Strobe from C, and from everything that can call C.
 *
 * There is no function per operator: an operator is bound by name, with the arguments that the caller means
 * to give, in the caller's order, and then called as often as it likes. So a program goes on working with a
 * later library whose operators have more arguments: what it does not name keeps its default.
 *
 *   const char* arguments[] = {"input", "weight", "out", "eps"};
 *   StrobeFunction* rmsnorm = NULL;
 *   if (strobe_bind("rmsnorm", arguments, 4, "auto", &rmsnorm) != STROBE_OK) puts(strobe_last_error());
 *   StrobeValue values[] = {strobe_tensor(&x), strobe_tensor(&w), strobe_tensor(&y), strobe_float(1e-6)};
 *   if (strobe_call(rmsnorm, values, 4, NULL) != STROBE_OK) puts(strobe_last_error());
 *   strobe_release(rmsnorm);
 *
 * docs/operators.md lists operators and arguments, and strobe_describe() says the same in JSON. Tensors are
 * borrowed for the call; work on a GPU may go on after it (as long as the stream has not reached its end, the
 * memory must stay). No function throws; every pointer may be checked by its status alone.
 */
#ifndef STROBE_C_API_H_
#define STROBE_C_API_H_

#include <stddef.h>
#include <stdint.h>

#include "strobe/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. The library serves programs built with any header of the same major version. */
#define STROBE_ABI_MAJOR 1
#define STROBE_ABI_MINOR 1

/* major * 65536 + minor of the library. */
STROBE_API uint32_t strobe_abi_version(void);
/* "0.1.0". */
STROBE_API const char* strobe_version(void);

typedef int32_t StrobeStatus;
enum {
  STROBE_OK = 0,
  STROBE_INVALID_ARGUMENT = 1, /* the arguments contradict the operator's declaration */
  STROBE_UNSUPPORTED = 2,      /* a valid request that nothing in this library serves */
  STROBE_OUT_OF_MEMORY = 3,
  STROBE_COMPILE = 4, /* a kernel did not compile */
  STROBE_DRIVER = 5,  /* a device driver reported a failure */
  STROBE_IO = 6,
  STROBE_INTERNAL = 7 /* a fault of the library */
};

/* What the calling thread's last failed call has to say: which argument of which operator, what was expected,
 * what came. Holds until that thread's next failure. Never null. */
STROBE_API const char* strobe_last_error(void);

/* A tensor: DLPack's DLTensor, byte for byte, so that a DLTensor* may be given as it is. Strides count
 * elements; null strides mean row-major without gaps. Device types are 1 for the CPU, 2 for CUDA, 3 for
 * pinned host memory; dtypes are DLPack's. */
typedef struct {
  void* data;
  int32_t device_type;
  int32_t device_index;
  int32_t rank;
  uint8_t dtype_code; /* 0 int, 1 uint, 2 float, 4 bfloat, 6 bool, 10 float8_e4m3fn, 12 float8_e5m2 */
  uint8_t dtype_bits;
  uint16_t dtype_lanes; /* 1 */
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
} StrobeTensor;

/* One argument. The layout and the numbers of the kinds are those of tvm-ffi's TVMFFIAny. */
enum {
  STROBE_NONE = 0, /* not given; an attribute keeps its default */
  STROBE_INT = 1,
  STROBE_BOOL = 2,
  STROBE_FLOAT = 3,
  STROBE_TENSOR = 7,
  STROBE_STRING = 8 /* the name of an enumerator, such as "causal" */
};
typedef struct {
  int32_t kind;
  uint32_t reserved; /* 0 */
  union {
    int64_t integer; /* STROBE_INT, STROBE_BOOL */
    double number;   /* STROBE_FLOAT */
    const StrobeTensor* tensor;
    const char* string;
  } as;
} StrobeValue;

/* An operator with its arguments in the caller's order. Counts its references; may be called from any number
 * of threads at once, unless it plans or runs a plan. */
typedef struct StrobeFunction StrobeFunction;

/* How a call runs; null means the default stream. `size` is sizeof(StrobeLaunch). */
typedef struct {
  size_t size;
  void* stream; /* CUstream of the tensors' device; null for its default stream */
} StrobeLaunch;

/* Operators, their arguments, dtypes, shapes, defaults and formulas as JSON; lives as long as the library. */
STROBE_API const char* strobe_describe(void);

/* An argument is a name of the declaration, or, for a part of a tensor, "k[1=0]": index 0 of axis 1 of the
 * tensor given, or "k[1=0/2]", where that axis must have 2. Two with a plus share one value: a cache
 * [num_pages, 2, …] is "k[1=0/2]+v[1=1/2]" (the slash and the plus since minor version 1). `backend`: "auto",
 * "cpu", "cuda/sm80", "cuda/sm90". The caller owns one reference of *function. For an operator that splits
 * into plan and run this binds the plan, and makes the state that both share. */
STROBE_API StrobeStatus strobe_bind(const char* operator_name, const char* const* arguments, int32_t count,
                                    const char* backend, StrobeFunction** function);
/* The run that belongs to a plan; it keeps what it needs of it. */
STROBE_API StrobeStatus strobe_bind_run(const StrobeFunction* plan, const char* const* arguments,
                                        int32_t count, StrobeFunction** run);
/* Values in the order of `arguments`; those at the end may be left out. */
STROBE_API StrobeStatus strobe_call(const StrobeFunction* function, const StrobeValue* values, int32_t count,
                                    const StrobeLaunch* launch);
/* Bytes of workspace that runs of the current plan use; 0 for other functions. */
STROBE_API int64_t strobe_workspace_bytes(const StrobeFunction* plan);
STROBE_API StrobeFunction* strobe_retain(StrobeFunction* function);
STROBE_API void strobe_release(StrobeFunction* function); /* null is allowed */

static inline StrobeValue strobe_none(void) {
  StrobeValue value = {STROBE_NONE, 0, {0}};
  return value;
}
static inline StrobeValue strobe_int(int64_t integer) {
  StrobeValue value = {STROBE_INT, 0, {0}};
  value.as.integer = integer;
  return value;
}
static inline StrobeValue strobe_bool(int on) {
  StrobeValue value = {STROBE_BOOL, 0, {0}};
  value.as.integer = on != 0;
  return value;
}
static inline StrobeValue strobe_float(double number) {
  StrobeValue value = {STROBE_FLOAT, 0, {0}};
  value.as.number = number;
  return value;
}
static inline StrobeValue strobe_tensor(const StrobeTensor* tensor) {
  StrobeValue value = {STROBE_TENSOR, 0, {0}};
  value.as.tensor = tensor;
  return value;
}
static inline StrobeValue strobe_string(const char* string) {
  StrobeValue value = {STROBE_STRING, 0, {0}};
  value.as.string = string;
  return value;
}

#ifdef __cplusplus
}
#endif

#endif /* STROBE_C_API_H_ */
