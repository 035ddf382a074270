// STROBE_API marks what the shared library exports; everything else is hidden.
#pragma once

#if defined(STROBE_STATIC) || !defined(__GNUC__)
#define STROBE_API
#else
#define STROBE_API __attribute__((visibility("default")))
#endif
