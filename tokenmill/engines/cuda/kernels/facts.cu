// The kernels of facts about documents (`tokenmill/facts/device.py`): ids in, what a job asks for out.
//
// Comes in: ids, and where documents' texts begin and end among them. Goes out: counts, signatures, runs of test sets. Always
// holds: what holds of kernels.cu, with which this is one module; a thread's stretch are 64 ids.
#include "facts.h"
#include "threads.h"

constexpr uint64_t STRETCH = 64;

#define EACH_STRETCH(begin, tokens) \
    EACH(stretch_, ((tokens) + STRETCH - 1) / STRETCH) if (const uint64_t begin = stretch_ * STRETCH; true)

// How often each id occurs; behind the last, how many ids are none of the vocabulary's.
KERNEL count_ids(const uint32_t* ids, uint64_t tokens, uint64_t vocabulary, uint32_t* counts) {
    for EACH(i, tokens) atomicAdd(counts + (ids[i] < vocabulary ? ids[i] : vocabulary), 1u);
}

// MinHash: places that nothing was dealt to; rounds of dealing, before each but the first the documents that have places left,
// which get its number; the places that are left in the end; and the signatures.
KERNEL empty_places(uint64_t places, uint64_t* kept) {
    for EACH(i, places) kept[i] = facts::NOTHING;
}

KERNEL deal_shingles(const uint32_t* ids, uint64_t tokens, const uint32_t* starts, const uint32_t* stops, uint64_t documents,
                     uint64_t turn, const uint32_t* left, uint64_t size, uint64_t* kept) {
    const facts::Texts texts{ids, starts, stops, documents};
    for EACH_STRETCH(begin, tokens) facts::deal(texts, begin, begin + STRETCH, turn, left, size, kept);
}

KERNEL find_left(const uint64_t* kept, uint64_t places, uint64_t size, uint64_t turn, uint32_t* left) {
    for EACH(i, places) {
        if (kept[i] >= facts::LEFT) left[i / size] = turn;
    }
}

KERNEL permute_shingles(const uint32_t* ids, uint64_t tokens, const uint32_t* starts, const uint32_t* stops, uint64_t documents,
                        uint64_t size, uint64_t* kept) {
    const facts::Texts texts{ids, starts, stops, documents};
    for EACH(i, (tokens + STRETCH - 1) / STRETCH * size) {
        const uint64_t begin = i / size * STRETCH;
        facts::permute(texts, begin, begin + STRETCH, i % size, size, kept);
    }
}

KERNEL sign(const uint64_t* kept, uint64_t places, uint32_t* signatures) {
    for EACH(i, places) signatures[i] = kept[i];
}

// Test sets: where the runs of one begin, a bit for each id; and for each document how many do, and how many ids they cover.
KERNEL find_runs(const uint32_t* ids, uint64_t tokens, const uint32_t* starts, const uint32_t* stops, uint64_t documents,
                 const uint64_t* sorted, uint64_t count, const uint64_t* sieve, uint64_t bits, uint64_t* begins) {
    const facts::Texts texts{ids, starts, stops, documents};
    for EACH_STRETCH(begin, tokens) begins[begin / STRETCH] = facts::begins(texts, begin, sorted, count, sieve, bits);
}

KERNEL tally_runs(const uint64_t* begins, uint64_t tokens, const uint32_t* starts, const uint32_t* stops, uint64_t documents,
                  uint32_t* found, uint32_t* covered) {
    const facts::Texts texts{nullptr, starts, stops, documents};
    for EACH_STRETCH(begin, tokens) {
        const uint64_t* own = begins + begin / STRETCH;
        facts::tally(texts, begin, begin ? own[-1] : 0, *own, found, covered);
    }
}
