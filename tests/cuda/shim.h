// Lets g++ take kernels.cu as it stands: the words of CUDA C++ that it uses, for threads that run one after the other, or, with
// THREADS, all at once: then `run` starts them, and a warp's first thread, which does the work of all, shares with no other.
#pragma once
#include <stdint.h>

#ifdef THREADS
#include <thread>
#include <vector>
#define OWN thread_local
#else
#define OWN
#endif

#define __global__ __attribute__((visibility("default")))
#define __shared__ static OWN

struct Extent {
    uint32_t x;
};
extern "C" {
OWN Extent blockIdx, threadIdx;  // set by host.py for each thread in turn
Extent blockDim, gridDim;
}

template <typename T>
T atomicAdd(T* place, T number) {
    return __atomic_fetch_add(place, number, __ATOMIC_RELAXED);
}
template <typename T>
T atomicMin(T* place, T number) {
    T found = *place;
    if (number < found) *place = number;
    return found;
}
template <typename T>
T atomicCAS(T* place, T expected, T wanted) {
    __atomic_compare_exchange_n(place, &expected, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
template <typename T>
T atomicOr(T* place, T bits) {
    return __atomic_fetch_or(place, bits, __ATOMIC_RELAXED);
}
inline int __popcll(uint64_t bits) { return __builtin_popcountll(bits); }
inline int __ffsll(uint64_t bits) { return __builtin_ffsll(bits); }

#ifdef THREADS
// A kernel has 16 parameters at most; those it does not have, it does not see.
typedef void (*Kernel)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
extern "C" __global__ void run(Kernel kernel, uint32_t blocks, const uint64_t* a) {
    gridDim.x = blocks;
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < blocks * blockDim.x; ++i)
        threads.emplace_back([=] {
            blockIdx.x = i / blockDim.x, threadIdx.x = i % blockDim.x;
            kernel(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]);
        });
    for (std::thread& thread : threads) thread.join();
}
// What is volatile is meant to be read while others write it (--param=tsan-distinguish-volatile=1).
extern "C" __global__ void __tsan_volatile_read4(void*) {}
#endif
