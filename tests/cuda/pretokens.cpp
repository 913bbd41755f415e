// kernels/pretokens.h on a CPU, for ctypes: the chunks of a batch one by one, in either order.
#include "shim.h"

#include "pretokens.h"

template <typename Chunk>
static void each_chunk(uint32_t total, uint32_t chunk, int reversed, Chunk run) {
    uint32_t chunks = (uint32_t)(((uint64_t)total + chunk - 1) / chunk);
    for (uint32_t i = 0; i < chunks; ++i) {
        uint32_t begin = (reversed ? chunks - 1 - i : i) * chunk;
        run(begin, total - begin < chunk ? total : begin + chunk);
    }
}

extern "C" void mark(int family, uint32_t chunk, int reversed, const uint8_t* bytes, const uint32_t* offsets, uint32_t documents,
                     const uint16_t* index, const uint8_t* classes, uint64_t* starts, uint8_t* doubtful) {
    each_chunk(offsets[documents], chunk, reversed, [&](uint32_t begin, uint32_t stop) {
        mark_starts(family, begin, stop, bytes, offsets, documents, index, classes, starts, doubtful);
    });
}

extern "C" void certify(uint32_t chunk, const uint8_t* bytes, const uint32_t* offsets, uint32_t documents, const uint16_t* index,
                        const uint8_t* classes, const uint8_t* beside, int normalized, const uint8_t* added,
                        const uint32_t* added_offsets, uint32_t added_tokens, const uint8_t* added_begins, uint8_t* doubtful) {
    each_chunk(offsets[documents], chunk, 0, [&](uint32_t begin, uint32_t stop) {
        certify_chunk(begin, stop, bytes, offsets, documents, index, classes, beside, normalized, added, added_offsets,
                      added_tokens, added_begins, doubtful);
    });
}
