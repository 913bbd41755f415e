// Words: the ids of the bytes between two starts, from a table of words met before or by the merges of byte-level BPE.
//
// Comes in: a word's bytes; the image of a tokenizer's merges (`merges.py`); the table of words (`words.py`). Goes out: its ids,
// those of `tokenizers` 0.23 (models/bpe/word.rs: of all pairs that can be merged the one of lowest rank, of equal ones the
// leftmost). Always holds: an entry of the table is a word's exact bytes and ids that were computed, never taken from the
// vocabulary: a vocabulary may hold tokens that no merges lead to.
#pragma once

#include "unicode.h"
#include "warp.h"

constexpr uint32_t NONE = 0xffffffff;
constexpr uint32_t SHORT_WORD = 64;   // bytes of the longest word that a thread encodes alone
constexpr uint32_t LONG_WORD = 256;   // of the longest that a warp does; documents with longer ones are doubtful
constexpr uint32_t KNOWN_WORD = 15;   // of the longest in the table
constexpr uint32_t KNOWN_IDS = 4;     // most ids of a word in the table, each below 2^24
constexpr uint32_t PROBES = 16;       // places of the table where a word may be, from its hash on

// Two neighbours that become one. Unused places have left == NONE. Aligned, here and below, to be read at once.
struct alignas(16) Pair {
    uint32_t left, right, rank, id;
};

// A token of a vocabulary whose words are looked up whole. Unused places have length == 0.
struct alignas(16) Token {
    uint32_t hash, begin, length, id;
};

// What the image begins with; places in bytes from its beginning. `whole` is 0 where words are always merged.
struct Merges {
    uint64_t pairs, pair_mask, tokens, token_mask, spellings, whole;
    uint32_t byte_ids[256];
};

HD uint32_t pair_hash(uint32_t left, uint32_t right) {
    uint32_t hash = left * 0x9e3779b1u ^ right * 0x85ebca6bu;
    hash = (hash ^ hash >> 15) * 0xc2b2ae35u;
    return hash ^ hash >> 13;
}

HD uint32_t spelling_hash(const uint8_t* bytes, uint32_t length) {  // FNV-1a, and a last mixing
    uint32_t hash = 0x811c9dc5u;
    for (uint32_t i = 0; i < length; ++i) hash = (hash ^ bytes[i]) * 0x01000193u;
    return hash ^ hash >> 15;
}

// What becomes of two neighbours; rank == NONE if nothing.
HD Pair pair_of(const Merges& merges, uint32_t left, uint32_t right) {
    const Pair* pairs = (const Pair*)((const uint8_t*)&merges + merges.pairs);
    for (uint64_t place = pair_hash(left, right);; ++place) {
        Pair pair = pairs[place & merges.pair_mask];
        if (pair.left == left && pair.right == right) return pair;
        if (pair.left == NONE) return {left, right, NONE, NONE};
    }
}

// The id of a word that is a token; NONE if it is none, or if that does not count.
HD uint32_t whole_id(const Merges& merges, const uint8_t* bytes, uint32_t length) {
    if (!merges.whole) return NONE;
    const uint8_t* image = (const uint8_t*)&merges;
    const Token* tokens = (const Token*)(image + merges.tokens);
    uint32_t hash = spelling_hash(bytes, length);
    for (uint64_t place = hash;; ++place) {
        Token token = tokens[place & merges.token_mask];
        if (!token.length) return NONE;
        if (token.hash != hash || token.length != length) continue;
        const uint8_t* spelling = image + merges.spellings + token.begin;
        uint32_t same = 0;
        while (same < length && spelling[same] == bytes[same]) ++same;
        if (same == length) return token.id;
    }
}

// The ids of a word of at most SHORT_WORD bytes, and how many there are.
HD uint32_t encode_short(const Merges& merges, const uint8_t* bytes, uint32_t length, uint32_t* ids) {
    uint32_t symbols[SHORT_WORD], ranks[SHORT_WORD];  // ranks[i]: of the pair that begins with symbol i
    ids[0] = whole_id(merges, bytes, length);
    if (ids[0] != NONE) return 1;
    for (uint32_t i = 0; i < length; ++i) symbols[i] = merges.byte_ids[bytes[i]];
    for (uint32_t i = 0; i + 1 < length; ++i) ranks[i] = pair_of(merges, symbols[i], symbols[i + 1]).rank;
    for (;;) {
        uint32_t rank = NONE, at = 0;
        for (uint32_t i = 0; i + 1 < length; ++i)
            if (ranks[i] < rank) rank = ranks[at = i];
        if (rank == NONE) break;
        symbols[at] = pair_of(merges, symbols[at], symbols[at + 1]).id;
        --length;
        for (uint32_t i = at + 1; i < length; ++i) symbols[i] = symbols[i + 1], ranks[i] = ranks[i + 1];
        if (at > 0) ranks[at - 1] = pair_of(merges, symbols[at - 1], symbols[at]).rank;
        if (at + 1 < length) ranks[at] = pair_of(merges, symbols[at], symbols[at + 1]).rank;
    }
    for (uint32_t i = 0; i < length; ++i) ids[i] = symbols[i];
    return length;
}

// A word while a warp is at it: its symbols as a list, each where its first byte was.
struct Chain {
    uint32_t symbols[LONG_WORD], ranks[LONG_WORD];  // ranks[i]: of the pair that begins with symbol i; NONE where there is none
    uint16_t next[LONG_WORD], before[LONG_WORD];    // the last one's next is the length; the first one is its own `before`
};

// Merge the symbol at `at` with the next one.
HD void merge_at(const Merges& merges, Chain& chain, uint32_t at, uint32_t length) {
    uint32_t gone = chain.next[at], next = chain.next[gone];
    chain.symbols[at] = pair_of(merges, chain.symbols[at], chain.symbols[gone]).id;
    chain.ranks[gone] = chain.ranks[at] = NONE;
    chain.next[at] = next;
    if (next < length) {
        chain.before[next] = at;
        chain.ranks[at] = pair_of(merges, chain.symbols[at], chain.symbols[next]).rank;
    }
    if (at > 0) {
        uint32_t before = chain.before[at];
        chain.ranks[before] = pair_of(merges, chain.symbols[before], chain.symbols[at]).rank;
    }
}

// The same as encode_short for at most LONG_WORD bytes, by a warp; `count` is set.
HD void encode_long(const Merges& merges, const uint8_t* bytes, uint32_t length, Chain& chain, uint32_t* ids, uint32_t* count) {
    uint32_t whole = whole_id(merges, bytes, length);
    if (whole != NONE) {
        LANES(lane) if (lane == 0) ids[0] = whole, *count = 1;
        return;
    }
    LANES(lane) for (uint32_t i = lane; i < length; i += 32) {
        chain.symbols[i] = merges.byte_ids[bytes[i]];
        chain.next[i] = i + 1, chain.before[i] = i ? i - 1 : 0;
    }
    LANES(lane) for (uint32_t i = lane; i < length; i += 32)
        chain.ranks[i] = i + 1 < length ? pair_of(merges, chain.symbols[i], chain.symbols[i + 1]).rank : NONE;
    for (;;) {
        PerLane<uint32_t> rank, place;
        LANES(lane) {
            rank[lane] = place[lane] = NONE;
            for (uint32_t i = lane; i < length; i += 32)
                if (chain.ranks[i] < rank[lane]) rank[lane] = chain.ranks[place[lane] = i];
        }
        uint32_t lowest = least(rank);
        if (lowest == NONE) break;
        LANES(lane) if (rank[lane] != lowest) place[lane] = NONE;
        uint32_t at = least(place);
        LANES(lane) if (lane == 0) merge_at(merges, chain, at, length);
    }
    LANES(lane) if (lane == 0) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < length; i = chain.next[i]) ids[found++] = chain.symbols[i];
        *count = found;
    }
}

// The bytes and the length of a word of at most KNOWN_WORD bytes: what tells it from all others.
struct alignas(16) Key {
    uint64_t low, high;
};

// An entry of the table: 32 bytes, one sector of a GPU's memory.
struct Known {
    Key key;
    uint32_t ids[3];  // four of 24 bits
    uint32_t mark;    // bits of the hash above, how many ids below; 0 where there is no entry
};

// Eight bytes from any place, out of two aligned ones: the text has 32 bytes more at both ends.
HD uint64_t eight_bytes(const uint8_t* bytes) {
    const uint64_t* aligned = (const uint64_t*)((uint64_t)bytes & ~(uint64_t)7);
    uint32_t shift = ((uint64_t)bytes & 7) * 8;
    return shift ? aligned[0] >> shift | aligned[1] << (64 - shift) : aligned[0];
}

HD Key key_of(const uint8_t* bytes, uint32_t length) {
    uint64_t low = eight_bytes(bytes), high = length > 8 ? eight_bytes(bytes + 8) : 0;
    if (length < 8) low &= ((uint64_t)1 << length * 8) - 1;
    if (length > 8) high &= ((uint64_t)1 << (length - 8) * 8) - 1;
    return {low, high | (uint64_t)length << 56};
}

HD uint64_t key_hash(const Key& key) {
    uint64_t hash = (key.low ^ key.high * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    return (hash ^ hash >> 31) * 0x94d049bb133111ebu;
}

// How an entry of this hash and so many ids is marked.
HD uint32_t known_mark(uint64_t hash, uint32_t count) { return ((uint32_t)(hash >> 32) & ~7u) | count; }

// Where the table has a word; NONE if nowhere.
HD uint32_t known_place(const Known* table, uint64_t mask, const Key& key) {
    uint64_t hash = key_hash(key);
    for (uint32_t probe = 0; probe < PROBES; ++probe) {
        uint64_t place = (hash + probe) & mask;
        if (!table[place].mark) return NONE;
        if (table[place].key.low == key.low && table[place].key.high == key.high) return (uint32_t)place;
    }
    return NONE;
}

HD uint32_t known_count(const Known& known) { return known.mark & 7; }

HD uint32_t known_id(const Known& known, uint32_t number) {
    uint32_t bit = number * 24, at = bit / 32, shift = bit % 32;
    uint64_t both = known.ids[at] | (at < 2 ? (uint64_t)known.ids[at + 1] << 32 : 0);
    return (uint32_t)(both >> shift) & 0xffffff;
}

// Put a word into the table. Of threads that bring the same word one does; who meets a mark of this hash leaves the word out
// (a different word of the same mark, once in 2^29, is encoded each time that it is met).
HD void learn(Known* table, uint64_t mask, const Key& key, const uint32_t* ids, uint32_t count, uint32_t* entries) {
    uint64_t hash = key_hash(key);
    uint32_t mark = known_mark(hash, count);
    for (uint32_t probe = 0; probe < PROBES; ++probe) {
        Known& known = table[(hash + probe) & mask];
        uint32_t found = atomicCAS(&known.mark, 0u, mark);
        if (found == mark) return;
        if (found) continue;
        uint64_t bits[2] = {ids[0], 0};
        if (count > 1) bits[0] |= (uint64_t)ids[1] << 24;
        if (count > 2) bits[0] |= (uint64_t)ids[2] << 48, bits[1] |= ids[2] >> 16;
        if (count > 3) bits[1] |= (uint64_t)ids[3] << 8;
        known.key = key;
        known.ids[0] = (uint32_t)bits[0], known.ids[1] = (uint32_t)(bits[0] >> 32), known.ids[2] = (uint32_t)bits[1];
        atomicAdd(entries, 1u);
        return;
    }
}
