// Code points and their classes, read out of UTF-8.
//
// Comes in: bytes and the class table (`classes.py`): one byte per code point, in blocks of 256 that `index` names.
// Goes out: characters. Always holds: nothing is read beyond `end`, and every step goes forward by a byte at least, whatever
// the bytes are; only text that was certified means anything (`pretokens.h`).
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC has no standard headers
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

#ifdef __CUDACC__
#define HD __host__ __device__ inline
#else
#define HD inline
#endif

// What a code point is, in the low four bits of its class; `Kind` in classes.py. The reference's regular expressions know
// these apart by \p{..} and \s; NEWLINE is \r and \n, BLANK all other \s, OTHER what is in none.
enum Kind { OTHER, UPPER, LOWER, LETTER, MARK, NUMBER, SYMBOL, BLANK, NEWLINE, END = 15 };

constexpr uint32_t KIND = 0x0f;
constexpr uint32_t CJK = 0x10;        // in the ranges of DeepSeek's second pattern
constexpr uint32_t DEPENDENT = 0x40;  // NFC may change it where it stands behind certain others
constexpr uint32_t UNSTABLE = 0x80;   // NFC changes it wherever it stands

// What NFC may make of a code point and its neighbours; `Beside` in classes.py.
constexpr uint32_t RANK = 0x3f;      // of its canonical combining class; 0 for a starter
constexpr uint32_t HEAD = 0x40;      // a starter that may become one with what follows, or a character made of several
constexpr uint32_t FOLLOWER = 0x80;  // may become one with what stands before it

// A set of kinds.
HD constexpr uint32_t kinds(Kind kind) { return 1u << kind; }
template <typename... More>
HD constexpr uint32_t kinds(Kind kind, More... more) { return 1u << kind | kinds(more...); }

constexpr uint32_t LETTERS = kinds(UPPER, LOWER, LETTER);
constexpr uint32_t SPACES = kinds(BLANK, NEWLINE);

struct Character {
    uint32_t point;
    uint32_t next;   // where the following one begins
    uint32_t flags;  // its class without the kind
    uint32_t kind;   // END at the end of the text

    HD bool in(uint32_t set) const { return set >> kind & 1; }
};

// A document, or as much of it as may be looked at.
struct Text {
    const uint8_t* bytes;
    const uint16_t* index;
    const uint8_t* classes;
    uint32_t end;
    bool ended;  // whether somebody looked at `end`, and so cares where it is

    // The character that begins at `at`.
    HD Character look(uint32_t at) {
        if (at >= end) {
            ended = true;
            return {0, at, 0, END};
        }
        uint32_t point = bytes[at], length = 1;
        if (point >= 0xc0) {
            length = point < 0xe0 ? 2 : point < 0xf0 ? 3 : 4;
            if (length > end - at) length = end - at, ended = true;
            point &= 0x7f >> length;
            for (uint32_t i = 1; i < length; ++i) point = point << 6 | (bytes[at + i] & 0x3f);
            if (point > 0x10ffff) point = 0xfffd;
        }
        uint32_t found = classes[index[point >> 8] << 8 | (point & 0xff)];
        return {point, at + length, found & ~KIND, found & KIND};
    }

    // The character that ends at `at`; it begins at `begin` or later, and there is one.
    HD Character look_back(uint32_t at, uint32_t begin) {
        uint32_t from = at - 1;
        while (from > begin && at - from < 4 && (bytes[from] & 0xc0) == 0x80) --from;
        return look(from);
    }
};

// Whether well-formed UTF-8 (Unicode 3.9, table 3-7) has at `at` the first byte of a character that is over by `end`.
HD bool well_formed(const uint8_t* bytes, uint32_t at, uint32_t end) {
    uint32_t lead = bytes[at];
    if (lead < 0x80) return true;
    if (lead < 0xc2 || lead > 0xf4) return false;
    uint32_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length > end - at) return false;
    uint32_t second = bytes[at + 1];
    uint32_t lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;   // no longer form than needed
    uint32_t highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;  // no surrogate; nothing above U+10FFFF
    if (second < lowest || second > highest) return false;
    for (uint32_t i = 2; i < length; ++i)
        if ((bytes[at + i] & 0xc0) != 0x80) return false;
    return true;
}

// Whether the continuation byte at `at` belongs to a character that begins at `begin` or later.
HD bool continues(const uint8_t* bytes, uint32_t at, uint32_t begin) {
    for (uint32_t back = 1; back < 4 && back <= at - begin; ++back) {
        uint32_t lead = bytes[at - back];
        if ((lead & 0xc0) != 0x80) return lead >= (back == 1 ? 0xc0u : back == 2 ? 0xe0u : 0xf0u);
    }
    return false;
}
