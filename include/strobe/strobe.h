// Everything of Strobe's C++ API.
#pragma once

#include "strobe/activation.h"
#include "strobe/attention.h"
#include "strobe/cascade.h"
#include "strobe/cascade_attention.h"
#include "strobe/device.h"
#include "strobe/dtype.h"
#include "strobe/error.h"
#include "strobe/export.h"
#include "strobe/kv_layout.h"
#include "strobe/norm.h"
#include "strobe/operators.h"
#include "strobe/page.h"
#include "strobe/quantization.h"
#include "strobe/rope.h"
#include "strobe/tensor.h"
#include "strobe/threads.h"
