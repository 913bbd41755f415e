// Pre-tokens: where the words of a text begin, exactly as the reference's regular expressions cut it.
//
// Comes in: a batch of documents end to end (`bytes`, 32 zero bytes before and behind; uint32 `offsets[documents + 1]`, empty
// documents allowed; fewer than 2^31 bytes) and the class table. Goes out, one chunk of bytes [begin, stop) at a time, chunks
// in any order or all at once:
//
//   mark_starts<FAMILY>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful)
//     sets bit `at % 64` of starts[at / 64] wherever a word begins (so at every document that is not empty), by atomic OR;
//     `mark_starts(family, ...)` is the same for a family that is known at run time.
//   certify_chunk(begin, stop, bytes, offsets, documents, index, classes, beside, normalized, added, added_offsets,
//                 added_tokens, added_begins, doubtful)
//     beside: what stands in the places of `classes` besides (`Beside` in classes.py). normalized: whether the tokenizer brings
//     text into NFC. added..: the strings that it finds in text before it cuts words, end to end, with uint32
//     offsets[added_tokens + 1]; added_begins[256]: whether one begins with that byte.
//
// Both set doubtful[document] = 1 where the words are not vouched for, and the exact engine has to encode that document; the
// bits of a doubtful document mean nothing, those of all others are exact.
//
// Why chunks are exact. Call a place certain if no alternative of the pattern can take its character otherwise than as its
// first: a word begins there in every parse. A thread starts at the first certain place of its chunk, walks the matcher from
// word to word, and stops when it stands on a certain place at or behind the end of its chunk. A certain place is never
// stepped over, so this is the first one behind the chunk, which is also the first of the chunk that it lies in, where
// another thread starts: the walks tile the text, and every start is emitted once. Chunks without a certain place have no walk.
//
// Why NFC leaves a certified document as it is. Each of its characters stays what it is alone (not UNSTABLE), and marks stand in
// the order of their classes, so all that NFC could do is to join a character with one before it. Only a FOLLOWER is ever joined,
// and it stands at the beginning, or behind a character with no `beside` at all: a starter that is not made of others and never
// the first of what is joined. Nothing can pass a starter. (UAX #15 calls every follower doubtful; most stand like this.)
#pragma once

#include "unicode.h"

// Whose pattern; `Family` in families.py. CL100K is Llama-3's too, QWEN2 that of 2, 2.5 and 3, O200K gpt-oss's.
enum Family { GPT2, CL100K, QWEN2, O200K, DEEPSEEK_V3 };

// How far behind its chunk a thread may walk; a document that would need more is doubtful. One thread would walk all of a
// megabyte of one letter while all others wait.
#ifndef FARTHEST
#define FARTHEST (1u << 16)
#endif

constexpr uint32_t WORDS = LETTERS | kinds(MARK);                // [\p{L}\p{M}]
constexpr uint32_t SYMBOLS = kinds(OTHER, MARK, SYMBOL);         // [^\s\p{L}\p{N}]
constexpr uint32_t UPPER_WORDS = kinds(UPPER, LETTER, MARK);     // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
constexpr uint32_t LOWER_WORDS = kinds(LOWER, LETTER, MARK);     // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

// Whether a word begins between two neighbours in every parse.
template <int F>
HD bool certain(const Character& before, const Character& character) {
    if (character.in(kinds(NUMBER)) || before.in(kinds(NUMBER))) {
        if (F == QWEN2) return true;
        if (F == GPT2 && before.point == ' ') return false;
        return before.kind != character.kind;
    }
    if (F == DEEPSEEK_V3 && (before.flags ^ character.flags) & CJK) return true;
    if (character.in(SPACES)) {
        if (character.kind == BLANK || F == GPT2) return !before.in(SPACES);
        return before.in(F == DEEPSEEK_V3 ? WORDS | kinds(OTHER) : LETTERS);
    }
    if (F == GPT2) {
        if (before.in(SPACES)) return before.point != ' ';
        return before.in(LETTERS) != character.in(LETTERS) && before.point != '\'';
    }
    if (before.kind == NEWLINE) return F != O200K || character.point != '/';
    if (F == DEEPSEEK_V3) {
        if (character.kind == OTHER) return before.kind != OTHER;
        return character.kind == SYMBOL && before.in(WORDS | kinds(OTHER));
    }
    if (F == O200K) return before.in(LETTERS) && character.in(kinds(OTHER, SYMBOL)) && character.point != '\'';
    return before.in(LETTERS) && character.in(SYMBOLS);
}

// What the matcher of a family sees: DeepSeek's third pattern is shown one piece of the first two at a time.
template <int F>
struct View {
    Text& text;
    uint32_t cjk;

    HD Character look(uint32_t at) {
        Character found = text.look(at);
        if (F == DEEPSEEK_V3 && (found.kind == NUMBER || (found.flags & CJK) != cjk)) found.kind = END;
        return found;
    }

    // The end of a run of some kinds.
    HD uint32_t run(uint32_t at, uint32_t set) {
        Character next = look(at);
        while (next.in(set)) next = look(at = next.next);
        return at;
    }

    // \s*[\r\n]+|\s+(?!\S)|\s+ or GPT-2's two of these: to the last newline of a run, to its last but one character, or all.
    HD uint32_t spaces(uint32_t at) {
        uint32_t last = at, newline = at, end = at;
        Character next = look(at);
        while (next.in(SPACES)) {
            if (next.kind == NEWLINE) newline = next.next;
            last = end;
            next = look(end = next.next);
        }
        if (F != GPT2 && newline > at) return newline;
        return next.kind == END || last == at ? end : last;
    }

    // \p{N}{1,3}
    HD uint32_t three_numbers(uint32_t at) {
        for (int i = 0; i < 3; ++i) {
            Character next = text.look(at);
            if (next.kind != NUMBER) break;
            at = next.next;
        }
        return at;
    }

    // 's|'t|'re|'ve|'m|'ll|'d behind an apostrophe at `at`; `at` if there is none. But for GPT-2 they come in either case, and
    // U+017F (c5 bf) is an s.
    HD uint32_t contraction(uint32_t at) {
        if (text.end - at < 3) text.ended = true;
        uint32_t lower = F == GPT2 ? 0 : 0x20;
        uint32_t first = text.end - at > 1 ? text.bytes[at + 1] : 0, second = text.end - at > 2 ? text.bytes[at + 2] : 0;
        if (F != GPT2 && first == 0xc5 && second == 0xbf) return at + 3;
        first |= lower, second |= lower;
        if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
        if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
        return first == 'l' && second == 'l' ? at + 3 : at;
    }
};

// ... ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
HD uint32_t gpt2_end(View<GPT2> view, uint32_t at) {
    Character first = view.look(at);
    if (first.point == '\'') {
        uint32_t end = view.contraction(at);
        if (end > at) return end;
    }
    if (first.point == ' ') first = view.look(first.next);
    if (first.in(LETTERS)) return view.run(first.next, LETTERS);
    if (first.in(kinds(NUMBER))) return view.run(first.next, kinds(NUMBER));
    if (first.in(SYMBOLS)) return view.run(first.next, SYMBOLS);
    return view.spaces(at);
}

// ...|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+, and \p{N} in Qwen's
template <int F>
HD uint32_t cl100k_end(View<F> view, uint32_t at) {
    Character first = view.look(at);
    if (first.point == '\'') {
        uint32_t end = view.contraction(at);
        if (end > at) return end;
    }
    if (first.kind == NUMBER) return F == QWEN2 ? first.next : view.three_numbers(at);
    if (first.in(LETTERS)) return view.run(first.next, LETTERS);
    if (first.kind == NEWLINE) return view.spaces(at);
    Character second = view.look(first.next);
    if (second.in(LETTERS)) return view.run(second.next, LETTERS);
    if (first.point == ' ' && second.in(SYMBOLS)) first = second;
    if (first.in(SYMBOLS)) return view.run(view.run(first.next, SYMBOLS), kinds(NEWLINE));
    return view.spaces(at);
}

// The first two alternatives of o200k, behind the optional character that is no letter: [UPPER_WORDS]*[LOWER_WORDS]+, or else
// [UPPER_WORDS]+[LOWER_WORDS]*; `at` if neither matches. Where no lower-case letter follows, the first gives back upper-case
// letters until it stands behind one of neither case, or a mark.
HD uint32_t cased_end(View<O200K>& view, uint32_t at) {
    uint32_t end = at, caseless = at;
    Character next = view.look(at);
    while (next.in(UPPER_WORDS)) {
        if (next.kind != UPPER) caseless = next.next;
        next = view.look(end = next.next);
    }
    if (next.kind == LOWER) return view.run(next.next, LOWER_WORDS);
    return caseless > at ? caseless : end;
}

// ...|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
HD uint32_t o200k_end(View<O200K> view, uint32_t at) {
    Character first = view.look(at);
    if (first.kind == NUMBER) return view.three_numbers(at);
    if (first.kind == NEWLINE) return view.spaces(at);
    // a mark can stand for the optional character and for a letter, with the same end
    uint32_t from = first.in(WORDS) ? at : first.next;
    uint32_t end = cased_end(view, from);
    if (end > from) {
        uint32_t longer = view.look(end).point == '\'' ? view.contraction(end) : end;
        return longer;
    }
    if (first.point == ' ') {
        Character second = view.look(first.next);
        if (second.in(SYMBOLS)) first = second;
    }
    if (!first.in(SYMBOLS)) return view.spaces(at);
    Character next = view.look(end = view.run(first.next, SYMBOLS));
    while (next.kind == NEWLINE || next.point == '/') next = view.look(end = next.next);
    return end;
}

// \p{N}{1,3}, then [CJK]+, then in each of what these leave and find
// [ASCII symbol][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
HD uint32_t deepseek_v3_end(View<DEEPSEEK_V3> view, uint32_t at) {
    Character first = view.text.look(at);
    if (first.kind == NUMBER) return view.three_numbers(at);
    view.cjk = first.flags & CJK;
    if (first.in(WORDS)) return view.run(first.next, WORDS);
    if (first.kind == NEWLINE) return view.spaces(at);
    Character second = view.look(first.next);
    if (first.kind == SYMBOL && first.point < 0x80 && second.point < 0x80 && second.in(LETTERS)) {
        while (second.point < 0x80 && second.in(LETTERS)) second = view.look(at = second.next);
        return at;
    }
    if (first.kind != SYMBOL && second.in(WORDS)) return view.run(second.next, WORDS);
    if (first.point == ' ' && second.kind == SYMBOL) first = second;
    if (first.kind == SYMBOL) return view.run(view.run(first.next, kinds(SYMBOL)), kinds(NEWLINE));
    if (first.kind == BLANK) return view.spaces(at);
    // what no alternative takes stays one piece, up to what one does take: the last of them with a word behind it
    at = first.next;
    while (second.kind == OTHER) {
        Character third = view.look(second.next);
        if (third.in(WORDS)) break;
        at = second.next, second = third;
    }
    return at;
}

// Where the word that begins at `at` ends; `at` is before the end of the text.
template <int F>
HD uint32_t pretoken_end(Text& text, uint32_t at) {
    if constexpr (F == GPT2) return gpt2_end({text, 0}, at);
    if constexpr (F == O200K) return o200k_end({text, 0}, at);
    if constexpr (F == DEEPSEEK_V3) return deepseek_v3_end({text, 0}, at);
    if constexpr (F == CL100K || F == QWEN2) return cl100k_end<F>({text, 0}, at);
}

// Whether a word begins at `at` of a document in every parse.
template <int F>
HD bool certain(Text& text, uint32_t at, uint32_t begin) {
    if (at == begin) return true;
    if ((text.bytes[at] & 0xc0) == 0x80) return false;
    return certain<F>(text.look_back(at, begin), text.look(at));
}

// The document that holds the byte at `at`.
HD uint32_t document_of(const uint32_t* offsets, uint32_t documents, uint32_t at) {
    uint32_t low = 0, high = documents;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (offsets[middle] <= at) low = middle;
        else high = middle;
    }
    return low;
}

template <int F>
HD void mark_starts(uint32_t begin, uint32_t stop, const uint8_t* bytes, const uint32_t* offsets, uint32_t documents,
                    const uint16_t* index, const uint8_t* classes, uint64_t* starts, uint8_t* doubtful) {
    if (stop > offsets[documents]) stop = offsets[documents];
    if (begin >= stop) return;
    Text text{bytes, index, classes, 0, false};
    uint32_t document = document_of(offsets, documents, begin), at = begin;
    for (;; ++at) {
        if (at == stop) return;
        while (offsets[document + 1] <= at) ++document;
        text.end = offsets[document + 1];
        if (certain<F>(text, at, offsets[document])) break;
    }
    uint64_t bits = 0;
    uint32_t word = at / 64;
    for (;;) {
        if (at / 64 != word) {
            atomicOr((unsigned long long*)starts + word, (unsigned long long)bits);
            bits = 0, word = at / 64;
        }
        bits |= (uint64_t)1 << at % 64;
        uint32_t end = offsets[document + 1];
        bool cut = end > stop && end - stop > FARTHEST;
        text.end = cut ? stop + FARTHEST : end;
        text.ended = false;
        at = pretoken_end<F>(text, at);
        if (cut && text.ended) {
            doubtful[document] = 1;
            break;
        }
        text.end = end;
        if (at == end) {
            if (at >= stop) break;
            while (offsets[document + 1] <= at) ++document;
        } else if (at >= stop && certain<F>(text, at, offsets[document])) {
            break;
        }
    }
    atomicOr((unsigned long long*)starts + word, (unsigned long long)bits);
}

HD void mark_starts(int family, uint32_t begin, uint32_t stop, const uint8_t* bytes, const uint32_t* offsets, uint32_t documents,
                    const uint16_t* index, const uint8_t* classes, uint64_t* starts, uint8_t* doubtful) {
    switch (family) {
        case GPT2: return mark_starts<GPT2>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
        case CL100K: return mark_starts<CL100K>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
        case QWEN2: return mark_starts<QWEN2>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
        case O200K: return mark_starts<O200K>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
        case DEEPSEEK_V3: return mark_starts<DEEPSEEK_V3>(begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
    }
}

// Whether one of the added tokens stands at `at`.
HD bool added_at(const uint8_t* bytes, uint32_t at, uint32_t end, const uint8_t* added, const uint32_t* added_offsets,
                 uint32_t added_tokens) {
    for (uint32_t token = 0; token < added_tokens; ++token) {
        uint32_t begin = added_offsets[token], length = added_offsets[token + 1] - begin, same = 0;
        if (length > end - at) continue;
        while (same < length && bytes[at + same] == added[begin + same]) ++same;
        if (same == length) return true;
    }
    return false;
}

// Whether NFC may change a DEPENDENT character for what stands before it in its document.
HD bool depends(const uint16_t* index, const uint8_t* beside, const Character& before, const Character& character) {
    uint32_t left = beside[index[before.point >> 8] << 8 | (before.point & 0xff)];
    uint32_t right = beside[index[character.point >> 8] << 8 | (character.point & 0xff)];
    return (right & FOLLOWER && left) || (right & RANK && (left & RANK) > (right & RANK));
}

HD void certify_chunk(uint32_t begin, uint32_t stop, const uint8_t* bytes, const uint32_t* offsets, uint32_t documents,
                      const uint16_t* index, const uint8_t* classes, const uint8_t* beside, bool normalized,
                      const uint8_t* added, const uint32_t* added_offsets, uint32_t added_tokens, const uint8_t* added_begins,
                      uint8_t* doubtful) {
    if (stop > offsets[documents]) stop = offsets[documents];
    if (begin >= stop) return;
    Text text{bytes, index, classes, 0, false};
    uint32_t document = document_of(offsets, documents, begin);
    for (uint32_t at = begin; at < stop; ++at) {
        while (offsets[document + 1] <= at) ++document;
        text.end = offsets[document + 1];
        bool good = true;
        if ((bytes[at] & 0xc0) == 0x80) {
            good = continues(bytes, at, offsets[document]);
        } else if (bytes[at] >= 0x80) {
            good = well_formed(bytes, at, text.end);
            if (good && normalized) {
                Character found = text.look(at);
                good = !(found.flags & UNSTABLE) && !(found.flags & DEPENDENT && at > offsets[document] &&
                                                      depends(index, beside, text.look_back(at, offsets[document]), found));
            }
        }
        if (good && added_begins[bytes[at]]) good = !added_at(bytes, at, text.end, added, added_offsets, added_tokens);
        if (!good) doubtful[document] = 1;
    }
}
