// How a kernel's threads share its work.
#pragma once

#include "unicode.h"

#define KERNEL extern "C" __global__ void

HD uint64_t this_thread() { return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; }
HD uint64_t all_threads() { return (uint64_t)gridDim.x * blockDim.x; }

#define EACH(index, count) (uint64_t index = this_thread(), count_ = (count); index < count_; index += all_threads())
