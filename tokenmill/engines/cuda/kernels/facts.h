// Facts about documents, on ids that lie in memory already: the arithmetic of `tokenmill/facts/`, bit for bit.
//
// Comes in: ids of documents end to end, fewer than 2^32, and where the documents' texts begin and end among them. Goes out:
// counts, signatures, runs of test sets. Always holds: a thread has a stretch of ids, wherever documents begin in it, so that a
// document of any length is done by as many threads as it has stretches; no run reaches beyond its document's text; where
// threads meet they add, or take the least, so that their order does not matter. Ids are plain: marks of what is learned from
// (bit 31) are off, and texts leave out a document's BOS and EOS.
#pragma once

#include "unicode.h"

namespace facts {

constexpr uint64_t MULTIPLIER = 0xD1342543DE82EF95ull;  // see facts/shingles.py
constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;      // splitmix64's step
constexpr uint32_t DEALS = 4;                           // rounds in which shingles are dealt
constexpr uint64_t LEFT = uint64_t(DEALS) << 32;        // of this and more is a place of a signature that was dealt no shingle
constexpr uint64_t NOTHING = ~0ull;                     // what such a place holds at first; in the end it stands for no shingle
constexpr uint32_t SHINGLE = 5;                         // ids of a shingle of MinHash; a shorter text is one shingle as it is
constexpr uint32_t GRAM = 13;                           // ids of a run that is looked for in test sets

// Documents: the text of each is [starts[d], stops[d]) among all ids; none overlap, and they come in order.
struct Texts {
    const uint32_t *ids, *starts, *stops;
    uint64_t documents;
};

// The first document whose text ends behind an id.
HD uint64_t first_behind(const Texts& texts, uint64_t id) {
    uint64_t first = 0, last = texts.documents;
    while (first < last) {
        const uint64_t middle = first + (last - first) / 2;
        if (texts.stops[middle] <= id) first = middle + 1;
        else last = middle;
    }
    return first;
}

// splitmix64's mixing step.
HD uint64_t mixed(uint64_t number) {
    number += GOLDEN;
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9ull;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBull;
    return number ^ (number >> 31);
}

// `take(number)` of each run of `width` ids that begins in [begin, end), in order: two multiplications each.
template <typename Take>
HD void each_number(const uint32_t* ids, uint64_t begin, uint64_t end, uint32_t width, Take take) {
    uint64_t number = 0, gone = 1;  // MULTIPLIER^width takes the id that falls out with it
    for (uint32_t i = 0; i < width; ++i) {
        number = number * MULTIPLIER + ids[begin + i] + 1;
        gone *= MULTIPLIER;
    }
    for (uint64_t i = begin;;) {
        take(number);
        if (++i == end) return;
        number = number * MULTIPLIER + ids[i + width - 1] + 1 - (uint64_t(ids[i - 1]) + 1) * gone;
    }
}

// `take(document, begin, end, width)` for each document with runs that begin in a stretch: where the first and behind the last
// of them begin, and their ids. A text of fewer ids than `width` is one run, unless it has fewer than `least`.
template <typename Take>
HD void each_text(const Texts& texts, uint64_t begin, uint64_t end, uint32_t width, uint32_t least, Take take) {
    for (uint64_t d = first_behind(texts, begin); d < texts.documents && texts.starts[d] < end; ++d) {
        const uint64_t start = texts.starts[d], stop = texts.stops[d], length = stop - start;
        if (length < least) continue;
        const uint32_t own = length < width ? length : width;
        const uint64_t from = start > begin ? start : begin, behind = stop - own + 1;
        if (from < behind) take(d, from, behind < end ? behind : end, own);
    }
}

// One round of a stretch's shingles, each to a place of its document's signature; in rounds behind the first only those of
// documents that have places left: of which `left` is the number of the round.
HD void deal(const Texts& texts, uint64_t begin, uint64_t end, uint32_t turn, const uint32_t* left, uint32_t size, uint64_t* kept) {
    each_text(texts, begin, end, SHINGLE, 1, [&](uint64_t document, uint64_t from, uint64_t to, uint32_t width) {
        if (turn && left[document] != turn) return;
        uint64_t* own = kept + document * size;
        each_number(texts.ids, from, to, width, [&](uint64_t number) {
            const uint64_t hash = mixed(number + turn * GOLDEN);
            atomicMin(own + (((hash >> 32) * size) >> 32), uint64_t(turn) << 32 | uint32_t(hash));
        });
    });
}

// A place of the signatures, where it is left: the least of a stretch's shingles under the place's permutation.
HD void permute(const Texts& texts, uint64_t begin, uint64_t end, uint32_t place, uint32_t size, uint64_t* kept) {
    const uint64_t factor = mixed(2ull * place) | 1, term = mixed(2ull * place + 1);
    each_text(texts, begin, end, SHINGLE, 1, [&](uint64_t document, uint64_t from, uint64_t to, uint32_t width) {
        uint64_t* own = kept + document * size + place;
        if (*own < LEFT) return;  // no value below would be less
        uint64_t least = ~0ull;
        each_number(texts.ids, from, to, width, [&](uint64_t number) {
            const uint64_t value = mixed(number) * factor + term;
            if (value < least) least = value;
        });
        atomicMin(own, LEFT | least >> 32);
    });
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

// A bit for each of the 64 ids from `begin` on: whether a run of GRAM ids begins there that is among sorted numbers.
HD uint64_t begins(const Texts& texts, uint64_t begin, const uint64_t* sorted, uint64_t count, const uint64_t* sieve, uint32_t bits) {
    uint64_t found = 0;
    each_text(texts, begin, begin + 64, GRAM, GRAM, [&](uint64_t, uint64_t from, uint64_t to, uint32_t width) {
        uint64_t bit = 1ull << (from - begin);
        each_number(texts.ids, from, to, width, [&](uint64_t number) {
            if (holds(sorted, count, sieve, bits, number)) found |= bit;
            bit <<= 1;
        });
    });
    return found;
}

// A bit for each of 64 ids: whether it stands in a run that begins at one of them, or at one of the 64 before.
HD uint64_t covered(uint64_t before, uint64_t begins) {
    uint64_t found = begins;
    for (uint32_t i = 1; i < GRAM; ++i) found |= begins << i | before >> (64 - i);
    return found;
}

// Count the runs that begin at the 64 ids from `begin` on, and the ids that stand in runs, for their documents. No run leaves
// its document, and so an id in one is of the document in which it begins.
HD void tally(const Texts& texts, uint64_t begin, uint64_t before, uint64_t begins, uint32_t* found, uint32_t* ids) {
    const uint64_t inside = covered(before, begins);
    if (!inside) return;
    for (uint64_t d = first_behind(texts, begin); d < texts.documents && texts.starts[d] < begin + 64; ++d) {
        const uint64_t start = texts.starts[d], stop = texts.stops[d];
        if (stop <= start) continue;
        const uint64_t from = start > begin ? start - begin : 0, to = stop < begin + 64 ? stop - begin : 64;
        const uint64_t own = ~0ull >> (64 - (to - from)) << from;
        if (!(inside & own)) continue;
        atomicAdd(found + d, uint32_t(__popcll(begins & own)));
        atomicAdd(ids + d, uint32_t(__popcll(inside & own)));
    }
}

}  // namespace facts
