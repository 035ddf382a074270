"""Strobe's copies of tvm-ffi's and DLPack's C structs against the headers of the installed apache-tvm-ffi."""

import shutil
import subprocess
from pathlib import Path

import pytest
import tvm_ffi

ROOT = Path(__file__).parents[2]

CHECKS = r"""
#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>
#include <tvm/ffi/extra/c_env_api.h>
#include "ffi/tvm_abi.h"
#define SAME(ours, our_field, theirs, their_field) \
  static_assert(offsetof(ours, our_field) == offsetof(theirs, their_field) && \
                sizeof(ours::our_field) == sizeof(theirs::their_field))
using namespace strobe::ffi;
static_assert(sizeof(StrobeTensor) == sizeof(DLTensor) && sizeof(StrobeValue) == sizeof(TVMFFIAny));
SAME(StrobeTensor, data, DLTensor, data);
SAME(StrobeTensor, rank, DLTensor, ndim);
SAME(StrobeTensor, shape, DLTensor, shape);
SAME(StrobeTensor, strides, DLTensor, strides);
SAME(StrobeTensor, byte_offset, DLTensor, byte_offset);
static_assert(offsetof(StrobeTensor, device_type) == offsetof(DLTensor, device) + offsetof(DLDevice, device_type));
static_assert(offsetof(StrobeTensor, device_index) == offsetof(DLTensor, device) + offsetof(DLDevice, device_id));
static_assert(offsetof(StrobeTensor, dtype_code) == offsetof(DLTensor, dtype) + offsetof(DLDataType, code));
static_assert(offsetof(StrobeTensor, dtype_bits) == offsetof(DLTensor, dtype) + offsetof(DLDataType, bits));
static_assert(offsetof(StrobeTensor, dtype_lanes) == offsetof(DLTensor, dtype) + offsetof(DLDataType, lanes));
SAME(StrobeValue, kind, TVMFFIAny, type_index);
SAME(StrobeValue, reserved, TVMFFIAny, small_str_len);
SAME(StrobeValue, as.integer, TVMFFIAny, v_int64);
static_assert(STROBE_NONE == kTVMFFINone && STROBE_INT == kTVMFFIInt && STROBE_BOOL == kTVMFFIBool &&
              STROBE_FLOAT == kTVMFFIFloat && STROBE_TENSOR == kTVMFFIDLTensorPtr && STROBE_STRING == kTVMFFIRawStr);
static_assert(tvm::kOpaquePtr == kTVMFFIOpaquePtr && tvm::kSmallStr == kTVMFFISmallStr && tvm::kStr == kTVMFFIStr &&
              tvm::kFunction == kTVMFFIFunction && tvm::kTensor == kTVMFFITensor);
static_assert(sizeof(tvm::ObjectHeader) == sizeof(TVMFFIObject) && sizeof(tvm::ByteArray) == sizeof(TVMFFIByteArray));
SAME(tvm::ByteArray, data, TVMFFIByteArray, data);
SAME(tvm::ByteArray, size, TVMFFIByteArray, size);
SAME(tvm::Version, minor, TVMFFIVersion, minor);
static_assert(kDLCPU == 1 && kDLCUDA == 2 && kDLCUDAHost == 3);
static_assert(kDLInt == 0 && kDLUInt == 1 && kDLFloat == 2 && kDLBfloat == 4 && kDLBool == 6 &&
              kDLFloat8_e4m3fn == 10 && kDLFloat8_e5m2 == 12);
// The functions that are looked up by name.
void (*get_version)(TVMFFIVersion*) = TVMFFIGetVersion;
void (*set_error)(const char*, const char*) = TVMFFIErrorSetRaisedFromCStr;
TVMFFIStreamHandle (*get_stream)(int32_t, int32_t) = TVMFFIEnvGetStream;
int (*make_string)(const TVMFFIByteArray*, TVMFFIAny*) = TVMFFIStringFromByteArray;
int (*make_function)(void*, TVMFFISafeCallType, void (*)(void*), TVMFFIObjectHandle*) = TVMFFIFunctionCreate;
"""


def compile_checks(checks, tmp_path):
    source = tmp_path / "checks.cc"
    source.write_text(checks)
    include = Path(tvm_ffi.__file__).parent / "include"
    folders = [include, ROOT / "src", ROOT / "include"]
    command = ["c++", "-std=c++20", "-fsyntax-only", *(f"-I{folder}" for folder in folders), str(source)]
    return subprocess.run(command, capture_output=True, text=True)


def test_layouts_and_numbers(tmp_path):
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler")
    result = compile_checks(CHECKS, tmp_path)
    assert result.returncode == 0, result.stderr
    wrong = compile_checks(CHECKS.replace("tvm::kTensor == kTVMFFITensor", "tvm::kTensor == kTVMFFIArray"), tmp_path)
    assert wrong.returncode != 0 and "static assertion failed" in wrong.stderr
