// A warp at one word: what its 32 lanes do between two points at which all have to be.
//
// LANES(lane) { ... } runs its body once for each lane; a PerLane is a lane's own variable that outlives such a body. Without a
// GPU the first thread of a warp does the work of all its lanes, body by body, and the other threads nothing: whatever is
// true of the lanes between two bodies is so on both.
#pragma once

#include "unicode.h"

#ifdef __CUDACC__
#define LANES(lane) for (uint32_t lane = threadIdx.x % 32, first = 1; first; first = 0, __syncwarp())
#define WARP_HAS_THIS_THREAD true

template <typename T>
struct PerLane {
    T own;
    HD T& operator[](uint32_t) { return own; }
};

// The least of the lanes' numbers, which all lanes get.
HD uint32_t least(PerLane<uint32_t>& numbers) { return __reduce_min_sync(0xffffffff, numbers.own); }
#else
#define LANES(lane) for (uint32_t lane = 0; lane < 32; ++lane)
#define WARP_HAS_THIS_THREAD (threadIdx.x % 32 == 0)

template <typename T>
struct PerLane {
    T all[32];
    T& operator[](uint32_t lane) { return all[lane]; }
};

inline uint32_t least(PerLane<uint32_t>& numbers) {
    uint32_t found = numbers[0];
    LANES(lane) if (numbers[lane] < found) found = numbers[lane];
    return found;
}
#endif
