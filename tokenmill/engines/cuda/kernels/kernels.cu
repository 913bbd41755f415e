// The kernels of one batch, in the order of their launches (`batch.py`): text and offsets of documents in, ids and offsets out.
//
// Comes in: documents end to end (32 zero bytes before and behind), fewer than 2^31 bytes. Goes out: what `scatter`,
// `document_tokens` and `ends` write. Always holds: parameters are addresses and 64-bit numbers; every kernel strides over its
// work, so any number of threads does it all; no thread waits for another; where threads write the same place they do so by an
// atomic OR, sum, least, append or claim, or write the same value.
#include "facts.cu"  // which is no part of it: one module has the kernels of both
#include "pretokens.h"
#include "threads.h"
#include "words.h"

// What a batch counts on its way; `Totals` in batch.py.
struct Totals {
    uint32_t blocks;   // of 64 bytes of text; set by the host
    uint32_t words;
    uint32_t tokens;   // without BOS and EOS
    uint32_t shorts;   // words to merge by a thread ...
    uint32_t longs;    // ... and by a warp
};

KERNEL certify(const uint8_t* text, uint64_t bytes, const uint32_t* offsets, uint64_t documents, const uint16_t* index,
               const uint8_t* classes, const uint8_t* beside, uint64_t normalized, const uint8_t* added,
               const uint32_t* added_offsets, uint64_t added_tokens, const uint8_t* added_begins, uint8_t* doubtful) {
    for EACH(block, bytes / 64 + 1)
        certify_chunk(block * 64, block * 64 + 64, text, offsets, documents, index, classes, beside, normalized, added,
                      added_offsets, added_tokens, added_begins, doubtful);
}

// A bit for each byte at which a word begins.
#define STARTS(name, FAMILY)                                                                                                 \
    KERNEL starts_##name(const uint8_t* text, uint64_t bytes, const uint32_t* offsets, uint64_t documents,                   \
                         const uint16_t* index, const uint8_t* classes, uint64_t* starts, uint8_t* doubtful) {               \
        for EACH(block, bytes / 64 + 1)                                                                                      \
            mark_starts<FAMILY>(block * 64, block * 64 + 64, text, offsets, documents, index, classes, starts, doubtful);    \
    }
STARTS(gpt2, GPT2)
STARTS(cl100k, CL100K)
STARTS(qwen2, QWEN2)
STARTS(o200k, O200K)
STARTS(deepseek_v3, DEEPSEEK_V3)

// How many words begin in each block of 64 bytes; a 0 more stands behind the last.
KERNEL count_starts(const uint64_t* starts, const Totals* totals, uint32_t* numbers) {
    for EACH(block, (uint64_t)totals->blocks + 1) numbers[block] = block < totals->blocks ? __popcll(starts[block]) : 0;
}

// Running sums of `*count + 1` numbers, 64 at a time, level by level: up, `sums` of the numbers of a level are those of the
// next; at the top one thread turns them into what stands before each; down, `spread` does it 64 at a time. The last number,
// which is 0, becomes the sum of all.
HD uint64_t numbers_at(const uint32_t* count, uint64_t level) {
    uint64_t numbers = (uint64_t)*count + 1;
    while (level--) numbers = (numbers + 63) / 64;
    return numbers;
}

HD void run_up(uint32_t* numbers, uint64_t begin, uint64_t end, uint32_t sum) {
    for (uint64_t i = begin; i < end; ++i) {
        uint32_t number = numbers[i];
        numbers[i] = sum;
        sum += number;
    }
}

KERNEL sums(const uint32_t* numbers, const uint32_t* count, uint64_t level, uint32_t* above) {
    uint64_t all = numbers_at(count, level);
    for EACH(group, (all + 63) / 64) {
        uint32_t sum = 0;
        for (uint64_t i = group * 64; i < group * 64 + 64 && i < all; ++i) sum += numbers[i];
        above[group] = sum;
    }
}

KERNEL top(uint32_t* numbers, const uint32_t* count, uint64_t level) {
    for EACH(only, 1) run_up(numbers, only, numbers_at(count, level), 0);
}

KERNEL spread(uint32_t* numbers, const uint32_t* count, uint64_t level, const uint32_t* above) {
    uint64_t all = numbers_at(count, level);
    for EACH(group, (all + 63) / 64) run_up(numbers, group * 64, group * 64 + 64 < all ? group * 64 + 64 : all, above[group]);
}

// Where each word begins, and behind the last where the text ends. `before` is how many begin before each block.
KERNEL list_words(const uint64_t* starts, const uint32_t* before, uint64_t bytes, Totals* totals, uint32_t* words,
                  uint32_t* counts) {
    for EACH(block, totals->blocks) {
        uint32_t* next = words + before[block];
        for (uint64_t bits = starts[block]; bits; bits &= bits - 1) *next++ = block * 64 + __ffsll(bits) - 1;
        if (block == 0) {
            uint32_t all = before[totals->blocks];
            totals->words = all;
            words[all] = bytes;
            counts[all] = 0;
        }
    }
}

// Find words in the table; list the others, short ones from the front of `misses` and long ones from its back. The document
// of a word that is too long for both is doubtful.
KERNEL lookup(const uint8_t* text, const uint32_t* offsets, uint64_t documents, const uint32_t* words, Totals* totals,
              const Known* table, uint64_t table_mask, uint32_t* found, uint32_t* counts, uint32_t* misses, uint64_t most_misses,
              uint8_t* doubtful) {
    for EACH(word, totals->words) {
        uint32_t begin = words[word], length = words[word + 1] - begin, place = NONE;
        if (length <= KNOWN_WORD) place = known_place(table, table_mask, key_of(text + begin, length));
        found[word] = place;
        counts[word] = place == NONE ? 0 : known_count(table[place]);
        if (place != NONE) continue;
        if (length <= SHORT_WORD) misses[atomicAdd(&totals->shorts, 1u)] = word;
        else if (length <= LONG_WORD) misses[most_misses - 1 - atomicAdd(&totals->longs, 1u)] = word;
        else doubtful[document_of(offsets, documents, begin)] = 1;
    }
}

// The ids of a missed word go to where its bytes are, counted in ids: there are never more of them than bytes.
KERNEL merge_short(const uint8_t* text, const uint32_t* words, const Totals* totals, const uint32_t* misses, const Merges* merges,
                   uint32_t* scratch, uint32_t* counts) {
    for EACH(miss, totals->shorts) {
        uint32_t word = misses[miss], begin = words[word];
        counts[word] = encode_short(*merges, text + begin, words[word + 1] - begin, scratch + begin);
    }
}

KERNEL merge_long(const uint8_t* text, const uint32_t* words, const Totals* totals, const uint32_t* misses, uint64_t most_misses,
                  const Merges* merges, uint32_t* scratch, uint32_t* counts) {
    __shared__ Chain chains[4];  // of the warps of a block
    if (!WARP_HAS_THIS_THREAD) return;
    for (uint64_t miss = this_thread() / 32; miss < totals->longs; miss += all_threads() / 32) {
        uint32_t word = misses[most_misses - 1 - miss], begin = words[word];
        encode_long(*merges, text + begin, words[word + 1] - begin, chains[threadIdx.x / 32], scratch + begin, counts + word);
    }
}

// Ids into the column: `tokens` is how many stand before each word. `width` is 2 or 4 bytes; `bos` and `eos` are 0 or 1, how
// many more stand before and behind each document.
KERNEL scatter(const uint32_t* offsets, uint64_t documents, const uint32_t* words, const Totals* totals, const Known* table,
               const uint32_t* found, const uint32_t* scratch, const uint32_t* tokens, uint64_t bos, uint64_t eos, uint64_t width,
               void* ids) {
    for EACH(word, totals->words) {
        uint32_t begin = words[word], place = found[word], at = tokens[word], count = tokens[word + 1] - at;
        if (bos + eos) at += document_of(offsets, documents, begin) * (bos + eos) + bos;
        for (uint32_t i = 0; i < count; ++i) {
            uint32_t id = place == NONE ? scratch[begin + i] : known_id(table[place], i);
            if (width == 2) ((uint16_t*)ids)[at + i] = id;
            else ((uint32_t*)ids)[at + i] = id;
        }
    }
}

// How many ids stand before each document, BOS and EOS of those before it among them; behind the last, how many there are.
KERNEL document_tokens(const uint32_t* offsets, uint64_t documents, const uint64_t* starts, const uint32_t* before,
                       const uint32_t* tokens, uint64_t bos, uint64_t eos, Totals* totals, uint32_t* token_offsets) {
    for EACH(document, documents + 1) {
        uint32_t at = offsets[document];
        uint32_t word = before[at / 64] + __popcll(starts[at / 64] & (((uint64_t)1 << at % 64) - 1));
        token_offsets[document] = tokens[word] + document * (bos + eos);
        if (document == documents) totals->tokens = tokens[word];
    }
}

// BOS and EOS of each document; an id of 2^32 - 1 for none.
KERNEL ends(const uint32_t* token_offsets, uint64_t documents, uint64_t bos, uint64_t eos, uint64_t width, void* ids) {
    for EACH(document, documents) {
        uint32_t first = token_offsets[document], last = token_offsets[document + 1] - 1;
        if (bos != NONE && width == 2) ((uint16_t*)ids)[first] = bos;
        if (bos != NONE && width == 4) ((uint32_t*)ids)[first] = bos;
        if (eos != NONE && width == 2) ((uint16_t*)ids)[last] = eos;
        if (eos != NONE && width == 4) ((uint32_t*)ids)[last] = eos;
    }
}

// What was merged goes into the table, for the batches to come, until it has `most` entries; threads that see that at once
// bring some more, for which there is room.
KERNEL learn_words(const uint8_t* text, const uint32_t* words, const Totals* totals, const uint32_t* misses, const uint32_t* scratch,
                   const uint32_t* tokens, Known* table, uint64_t table_mask, uint32_t* entries, uint64_t most) {
    volatile const uint32_t* now = entries;  // others add to it meanwhile, where a copy kept by this multiprocessor would not show
    for EACH(miss, totals->shorts) {
        uint32_t word = misses[miss], begin = words[word], length = words[word + 1] - begin;
        uint32_t count = tokens[word + 1] - tokens[word];
        if (*now >= most) return;
        if (length > KNOWN_WORD || count > KNOWN_IDS) continue;
        learn(table, table_mask, key_of(text + begin, length), scratch + begin, count, entries);
    }
}
