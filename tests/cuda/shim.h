// Lets g++ take kernels.cu as it stands: the words of CUDA C++ that it uses, for threads that run one after the other.
#pragma once
#include <stdint.h>

#define __global__ __attribute__((visibility("default")))
#define __shared__ static

struct Extent {
    uint32_t x;
};
extern "C" {
Extent blockIdx, blockDim, threadIdx, gridDim;  // set by host.py for each thread in turn
}

template <typename T>
T atomicAdd(T* place, T number) {
    T found = *place;
    *place = found + number;
    return found;
}
template <typename T>
T atomicMin(T* place, T number) {
    T found = *place;
    if (number < found) *place = number;
    return found;
}
template <typename T>
T atomicCAS(T* place, T expected, T wanted) {
    T found = *place;
    if (found == expected) *place = wanted;
    return found;
}
inline int __popcll(uint64_t bits) { return __builtin_popcountll(bits); }
inline int __ffsll(uint64_t bits) { return __builtin_ffsll(bits); }
