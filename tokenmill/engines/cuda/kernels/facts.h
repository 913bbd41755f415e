// Facts about documents, on ids that lie in memory already: the arithmetic of `tokenmill/facts/`, bit for bit.
//
// Everything here is done by one thread, for one document or one stretch of ids; where two threads may meet, `facts::add` and
// `facts::least` are atomic on a GPU. Compiles with g++ -std=c++17 and with NVRTC. Ids are plain: marks of what is learned from
// (bit 31) are off, and `begin` and `end` leave out a document's BOS and EOS.
// `tests/cuda/test_facts_header.py` compares each function with what Python writes.
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC has no standard headers
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

#ifndef HD
#ifdef __CUDACC__
#define HD __host__ __device__ inline
#else
#define HD inline
#endif
#endif

namespace facts {

constexpr uint64_t MULTIPLIER = 0xD1342543DE82EF95ull;  // see facts/shingles.py
constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;      // splitmix64's step
constexpr uint32_t DEALS = 4;                            // rounds in which shingles are dealt
constexpr uint64_t NOTHING = uint64_t(DEALS) << 32;      // a place of a signature that is dealt no shingle
constexpr uint32_t SHINGLE = 5;                         // ids of a shingle of MinHash
constexpr uint32_t GRAM = 13;                           // ids of a run that is looked for in test sets

HD void add(uint64_t* count, uint64_t more) {
#ifdef __CUDA_ARCH__
    atomicAdd((unsigned long long*)count, (unsigned long long)more);
#else
    *count += more;
#endif
}

HD void least(uint64_t* kept, uint64_t value) {
#ifdef __CUDA_ARCH__
    atomicMin((unsigned long long*)kept, (unsigned long long)value);
#else
    if (value < *kept) *kept = value;
#endif
}

// splitmix64's mixing step.
HD uint64_t mixed(uint64_t number) {
    number += GOLDEN;
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9ull;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBull;
    return number ^ (number >> 31);
}

// The number of the `width` ids that begin here.
HD uint64_t number_of(const uint32_t* ids, uint32_t width) {
    uint64_t number = 0;
    for (uint32_t i = 0; i < width; ++i) number = number * MULTIPLIER + ids[i] + 1;
    return number;
}

// M^width, which takes the id that falls out of a window with it; see Window.
HD uint64_t power(uint32_t width) {
    uint64_t result = 1;
    for (uint32_t i = 0; i < width; ++i) result *= MULTIPLIER;
    return result;
}

// The numbers of runs that follow one another, two multiplications each.
struct Window {
    const uint32_t* ids;
    uint32_t width;
    uint64_t gone, number;

    HD Window(const uint32_t* ids, uint32_t width) : ids(ids), width(width), gone(power(width)), number(number_of(ids, width)) {}

    // To the run that begins one id later.
    HD void next() {
        number = number * MULTIPLIER + ids[width] + 1 - (uint64_t(*ids) + 1) * gone;
        ++ids;
    }
};

// Histogram of ids: of the stretch [begin, end).
HD void count_ids(const uint32_t* ids, uint64_t begin, uint64_t end, uint64_t* counts) {
    for (uint64_t i = begin; i < end; ++i) add(counts + ids[i], 1);
}

// One shingle in one round, to a place of the signature that is being made.
HD void deal(uint64_t number, uint32_t turn, uint32_t size, uint64_t* kept) {
    const uint64_t hash = mixed(number + turn * GOLDEN);
    least(kept + (((hash >> 32) * size) >> 32), uint64_t(turn) << 32 | (hash & 0xFFFFFFFFull));
}

// One round over the shingles that begin in [begin, end), of a document whose text ends at `stop` and has SHINGLE ids or more:
// several threads may share a round, in any order, and even go on to the next round before others have ended this one; rounds
// that are not needed change nothing. All of them end before any begins `least_of`.
HD void deal_shingles(
    const uint32_t* ids, uint64_t begin, uint64_t end, uint64_t stop, uint32_t turn, uint32_t size, uint64_t* kept
) {
    if (end > stop - SHINGLE + 1) end = stop - SHINGLE + 1;
    if (begin >= end) return;
    Window window(ids + begin, SHINGLE);
    for (uint64_t i = begin;;) {
        deal(window.number, turn, size, kept);
        if (++i == end) return;
        window.next();
    }
}

// Whether a place of a signature is left.
HD bool any_left(const uint64_t* kept, uint32_t size) {
    for (uint32_t i = 0; i < size; ++i)
        if (kept[i] == NOTHING) return true;
    return false;
}

// The least shingle of the text [begin, end) under the permutation of a place: for places that were dealt none.
HD uint32_t least_of(const uint32_t* ids, uint64_t begin, uint64_t end, uint32_t place) {
    const uint64_t factor = mixed(2ull * place) | 1, term = mixed(2ull * place + 1);
    if (end - begin < SHINGLE) return uint32_t((mixed(number_of(ids + begin, uint32_t(end - begin))) * factor + term) >> 32);
    Window window(ids + begin, SHINGLE);
    uint64_t found = ~0ull;
    for (uint64_t i = begin;;) {
        const uint64_t value = mixed(window.number) * factor + term;
        if (value < found) found = value;
        if (++i > end - SHINGLE) return uint32_t(found >> 32);
        window.next();
    }
}

// The signature of the text [begin, end). `kept` is room for `size` numbers.
HD void minhash(const uint32_t* ids, uint64_t begin, uint64_t end, uint32_t size, uint64_t* kept, uint32_t* signature) {
    for (uint32_t i = 0; i < size; ++i) kept[i] = NOTHING;
    for (uint32_t turn = 0; turn < DEALS && begin < end && any_left(kept, size); ++turn) {
        if (end - begin < SHINGLE) deal(number_of(ids + begin, uint32_t(end - begin)), turn, size, kept);
        else deal_shingles(ids, begin, end, end, turn, size, kept);
    }
    for (uint32_t i = 0; i < size; ++i) {
        if (kept[i] != NOTHING) signature[i] = uint32_t(kept[i]);
        else signature[i] = begin < end ? least_of(ids, begin, end, i) : 0xFFFFFFFFu;
    }
}

// Whether a number is among sorted ones. `sieve` has 2^bits bits, that of a number's high bits set for each: most look-ups end
// there.
HD bool holds(const uint64_t* sorted, uint64_t count, const uint64_t* sieve, uint32_t bits, uint64_t number) {
    const uint64_t high = number >> (64 - bits);
    if (!(sieve[high >> 6] >> (high & 63) & 1)) return false;
    uint64_t first = 0, last = count;
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (sorted[middle] < number) first = middle + 1;
        else last = middle;
    }
    return first < count && sorted[first] == number;
}

// How many runs of GRAM ids in the text [begin, end) are among sorted numbers, and how many of its ids stand in such runs.
HD void look_up(
    const uint32_t* ids, uint64_t begin, uint64_t end, const uint64_t* sorted, uint64_t count, const uint64_t* sieve,
    uint32_t bits, uint64_t* found, uint64_t* covered
) {
    *found = *covered = 0;
    if (end - begin < GRAM || begin > end) return;
    uint64_t passed = begin;  // ids before it are counted
    Window window(ids + begin, GRAM);
    for (uint64_t i = begin;;) {
        if (holds(sorted, count, sieve, bits, window.number)) {
            const uint64_t from = i > passed ? i : passed;
            ++*found;
            *covered += i + GRAM - from;
            passed = i + GRAM;
        }
        if (++i > end - GRAM) return;
        window.next();
    }
}

}  // namespace facts
