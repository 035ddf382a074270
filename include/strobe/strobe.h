// Everything of Strobe's C++ API.
#pragma once

#include "strobe/device.h"
#include "strobe/dtype.h"
#include "strobe/error.h"
#include "strobe/export.h"
#include "strobe/norm.h"
#include "strobe/tensor.h"
#include "strobe/threads.h"
