// Products y = x W^T + bias of N tokens, for weights in float32, int8 (a scale per row) and int4 (a scale per group).
//
// float32 and int8 are stored by rows, and a sum runs along a row. int4 is stored in blocks of 64 rows, column after
// column: byte b of a column's 32 holds row b in its low half and row b + 32 in its high half (as torch packs for
// AVX-512), so that a lane is a row. A tile of several rows and tokens is computed in registers; tiles do not change
// the order of a sum. R rows (outputs), C columns (inputs), G groups.
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

enum Kind { FLOAT32 = 0, INT8 = 1, INT4 = 2 };

struct Matrix {
    const void* values;   // float [R, C], int8 [R, C], or nibbles [R / 64, C, 32]
    const float* scales;  // of int8, [R]
    const uint16_t* grid; // of int4, bfloat16 [G, R, 2]: scale and value of nibble 8; null if `wide` is set
    const float* wide;    // the same in float32
    const float* bias;    // [R] or null
    int64_t rows, columns, group, kind;
};

constexpr int BLOCK_ROWS = 64;
#if defined(__AVX512F__)
constexpr int TILE_TOKENS = 6, TILE_TOKENS4 = 6;
#else
constexpr int TILE_TOKENS = 2, TILE_TOKENS4 = 1;
#endif
constexpr int LANE_ROWS = 6;              // rows of a tile whose lanes are tokens
constexpr int FEW_LANES = LANES * 5 / 8;  // a vector with at most this many tokens is mostly empty
constexpr int64_t CACHE = 256 * 1024;  // bytes of inputs that stay in the cache while weights are read

// Memory of one thread for products.
struct Scratch {
    int64_t step = 0;  // within a pass
    std::vector<float> weights, sums, packed;

    // Packs tokens x [count, C] as [count / LANES, C, LANES], padded with zeros; once per step.
    void pack(const float* x, int64_t stride, int64_t columns, int64_t count) {
        if (packed_step_ == step) return;
        packed_step_ = step;
        packed.resize((count + LANES - 1) / LANES * LANES * columns);
        for (int64_t begin = 0; begin < count; begin += LANES)
            for (int64_t first = 0; first < columns; first += NEAR_COLUMNS)
                pack_some(x, stride, columns, begin, count, first, std::min(columns, first + NEAR_COLUMNS));
    }

private:
    static constexpr int64_t NEAR_COLUMNS = 64;  // of a vector's tokens, so that the target stays in the cache
    int64_t packed_step_ = -1;

    void pack_some(const float* x, int64_t stride, int64_t columns, int64_t begin, int64_t count, int64_t first,
                   int64_t last) {
        for (int64_t t = begin; t < begin + LANES; t++) {
            float* to = &packed[begin * columns + t % LANES];
            for (int64_t c = first; c < last; c++) to[c * LANES] = t < count ? x[t * stride + c] : 0.0f;
        }
    }
};

struct Output {
    float* y;
    int64_t stride;
    bool add;  // to the existing value
    void put(int64_t token, int64_t row, float value) const {
        float& place = y[token * stride + row];
        place = add ? place + value : value;
    }
};

// R rows by T tokens, each sum along the columns; W is a type that `load` accepts.
template <int R, int T, typename W>
static inline void row_tile(const W* w, int64_t columns, const float* x, int64_t stride, float (&out)[R][T]) {
    Vec sum[R][T] = {};
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) {
        Vec in[T];
        for (int t = 0; t < T; t++) in[t] = load(x + t * stride + c);
        for (int r = 0; r < R; r++) {
            Vec weight = load(w + r * columns + c);
            for (int t = 0; t < T; t++) sum[r][t] = fused(weight, in[t], sum[r][t]);
        }
    }
    if (c < columns) {
        for (int r = 0; r < R; r++) {
            Vec weight = load_some(w + r * columns + c, columns - c);
            for (int t = 0; t < T; t++)
                sum[r][t] = fused(weight, load_some(x + t * stride + c, columns - c), sum[r][t]);
        }
    }
    Vec* const sums = &sum[0][0];
    for (int i = 0; i < R * T / 4 * 4; i += 4) add_up({sums[i], sums[i + 1], sums[i + 2], sums[i + 3]}, &out[0][0] + i);
    for (int i = R * T / 4 * 4; i < R * T; i++) (&out[0][0])[i] = add_up(sums[i]);
}

template <int R, int T, typename W>
static void rows_by_tokens(const Matrix& m, const W* w, int64_t row, const float* x, int64_t stride, int64_t token,
                           const Output& to) {
    float out[R][T];
    row_tile<R, T>(w, m.columns, x + token * stride, stride, out);
    for (int r = 0; r < R; r++)
        for (int t = 0; t < T; t++) {
            float value = m.kind == INT8 ? out[r][t] * m.scales[row + r] : out[r][t];
            if (m.bias) value += m.bias[row + r];
            to.put(token + t, row + r, value);
        }
}

template <int R, typename W>
static void rows_by_all(const Matrix& m, const W* w, int64_t row, const float* x, int64_t stride, int64_t first,
                        int64_t last, const Output& to) {
    int64_t t = first;
    for (; t + TILE_TOKENS <= last; t += TILE_TOKENS) rows_by_tokens<R, TILE_TOKENS>(m, w, row, x, stride, t, to);
    for (; t + 2 <= last; t += 2) rows_by_tokens<R, 2>(m, w, row, x, stride, t, to);
    if (t < last) rows_by_tokens<R, 1>(m, w, row, x, stride, t, to);
}

// Few tokens: row by row, so that weights are read in memory order.
template <typename W>
static void by_rows(const Matrix& m, const W* w, int64_t first, int64_t last, const float* x, int64_t stride,
                    int64_t begin, int64_t end, const Output& to) {
    for (int64_t row = first; row < last; row++)
        rows_by_all<1>(m, w + row * m.columns, row, x, stride, begin, end, to);
}

// R rows by LANES tokens x [C, LANES]: a lane is a token, and a sum along the columns has the order of `row_tile` and
// `add_up`, LANES running sums and then a tree of halves, so that its bits are the same. Each of four turns computes
// the running sums of one quarter, as many as registers can hold.
template <int R>
static inline void lane_tile(const float* w, int64_t columns, const float* x, Vec (&out)[R]) {
    constexpr int TURNS = 4, SUMS = LANES / TURNS;
    Vec quarter[TURNS][R];
    for (int turn = 0; turn < TURNS; turn++) {
        Vec sum[SUMS][R] = {};
        int64_t c = turn;
        for (; c + TURNS * (SUMS - 1) < columns; c += LANES) {
#pragma GCC unroll 4
            for (int s = 0; s < SUMS; s++) {
                const Vec in = load(x + (c + TURNS * s) * LANES);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++) sum[s][r] = fused(splat(w[r * columns + c + TURNS * s]), in, sum[s][r]);
            }
        }
#pragma GCC unroll 4
        for (int s = 0; s < SUMS - 1; s++) {  // the rest of a row
            if (c + TURNS * s >= columns) continue;
            const Vec in = load(x + (c + TURNS * s) * LANES);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) sum[s][r] = fused(splat(w[r * columns + c + TURNS * s]), in, sum[s][r]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            quarter[turn][r] = SUMS == 4 ? (sum[0][r] + sum[SUMS - 2][r]) + (sum[1][r] + sum[SUMS - 1][r])
                                         : sum[0][r] + sum[1][r];
    }
    for (int r = 0; r < R; r++) out[r] = (quarter[0][r] + quarter[2][r]) + (quarter[1][r] + quarter[3][r]);
}

// R rows from `row` by tokens begin .. end - 1. Weights that are not float are converted once, which gives the same
// results; those of the next rows are prefetched.
template <int R, typename W>
static void rows_by_lanes(const Matrix& m, const W* w, int64_t row, const float* packed, int64_t begin, int64_t end,
                          const Output& to, std::vector<float>& scratch) {
    const W* here = w + row * m.columns;
    const int64_t size = R * m.columns;
    const char* next = (const char*)(here + size);
    for (int64_t byte = 0; byte < size * (int64_t)sizeof(W); byte += 64) __builtin_prefetch(next + byte, 0, 2);
    const float* weights;
    if constexpr (sizeof(W) == sizeof(float)) {
        weights = here;
    } else {
        scratch.resize(size);
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES) store(&scratch[i], load(here + i));
        for (; i < size; i++) scratch[i] = here[i];
        weights = scratch.data();
    }
    for (int64_t token = begin; token < end; token += LANES) {
        Vec sums[R];
        float tile[R][LANES];
        lane_tile<R>(weights, m.columns, packed + token * m.columns, sums);
        for (int r = 0; r < R; r++) {
            if (m.kind == INT8) sums[r] *= m.scales[row + r];
            if (m.bias) sums[r] += m.bias[row + r];
            store(tile[r], sums[r]);
        }
        for (int64_t t = 0; t < std::min<int64_t>(LANES, end - token); t++)
            for (int r = 0; r < R; r++) to.put(token + t, row + r, tile[r][t]);
    }
}

static inline float from_bfloat16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    std::memcpy(&x, &wide, sizeof x);
    return x;
}

// One column of a block of 64 rows as float, minus 8: rows 0 .. LANES - 1, then the next.
static inline void unpack(const uint8_t* p, Vec (&w)[BLOCK_ROWS / LANES]) {
    constexpr int half = BLOCK_ROWS / LANES / 2;
    for (int v = 0; v < half; v++) {
        UBytes bytes;
        std::memcpy(&bytes, p + v * LANES, sizeof bytes);
#if defined(__AVX512F__)
        const __m512 numbers = _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
        __m512i wide = _mm512_cvtepu8_epi32((__m128i)bytes);
        w[v] = (Vec)_mm512_permutexvar_ps(wide, numbers);  // a lookup by the low 4 bits
        w[half + v] = (Vec)_mm512_permutexvar_ps(_mm512_srli_epi32(wide, 4), numbers);
#else
        IntVec wide = __builtin_convertvector(bytes, IntVec);
        w[v] = __builtin_convertvector((wide & 15) - 8, Vec);
        w[half + v] = __builtin_convertvector((wide >> 4) - 8, Vec);
#endif
    }
}

// The scales of a group for LANES rows from `row`, and the values of nibble 8.
static inline void grid_at(const Matrix& m, int64_t g, int64_t row, Vec& scale, Vec& middle) {
    if (m.grid && row + LANES <= m.rows) {
        IntVec both;  // the scale is in the lower half of each
        std::memcpy(&both, m.grid + 2 * (g * m.rows + row), sizeof both);
        scale = (Vec)(both << 16);
        middle = (Vec)(both & (int32_t)0xffff0000);
        return;
    }
    for (int l = 0; l < LANES; l++) {
        const int64_t place = 2 * (g * m.rows + std::min(row + l, m.rows - 1));
        scale[l] = m.grid ? from_bfloat16(m.grid[place]) : m.wide[place];
        middle[l] = m.grid ? from_bfloat16(m.grid[place + 1]) : m.wide[place + 1];
    }
}

// A block of 64 rows by T tokens. `sums` [T, G] are the sums of each group's inputs.
template <int T>
static void block_by_tokens(const Matrix& m, int64_t block, const float* x, int64_t stride, const float* sums,
                            int64_t token, const Output& to) {
    constexpr int V = BLOCK_ROWS / LANES;
    const int64_t groups = m.columns / m.group;
    const uint8_t* w = (const uint8_t*)m.values + block * m.columns * (BLOCK_ROWS / 2);
    x += token * stride;
    Vec total[V][T] = {};
    for (int64_t g = 0; g < groups; g++) {
        Vec sum[V][T] = {};
        for (int64_t c = g * m.group; c < (g + 1) * m.group; c++, w += BLOCK_ROWS / 2) {
            Vec weight[V];
            unpack(w, weight);
            for (int t = 0; t < T; t++) {
                Vec in = splat(x[t * stride + c]);
                for (int v = 0; v < V; v++) sum[v][t] = fused(weight[v], in, sum[v][t]);
            }
        }
        for (int v = 0; v < V; v++) {
            Vec scale, middle;
            grid_at(m, g, block * BLOCK_ROWS + v * LANES, scale, middle);
            for (int t = 0; t < T; t++)
                total[v][t] = fused(scale, sum[v][t],
                                    fused(middle, splat(sums[t * groups + g]), total[v][t]));
        }
    }
    for (int t = 0; t < T; t++)
        for (int v = 0; v < V; v++)
            for (int l = 0; l < LANES; l++) {
                int64_t row = block * BLOCK_ROWS + v * LANES + l;
                if (row < m.rows) to.put(token + t, row, m.bias ? total[v][t][l] + m.bias[row] : total[v][t][l]);
            }
}

static void group_sums(const Matrix& m, const float* x, int64_t stride, int64_t count, std::vector<float>& sums) {
    const int64_t groups = m.columns / m.group;
    sums.resize(count * groups);
    for (int64_t t = 0; t < count; t++)
        for (int64_t g = 0; g < groups; g++) {
            const float* from = x + t * stride + g * m.group;
            Vec sum = {};
            int64_t c = 0;
            for (; c + LANES <= m.group; c += LANES) sum += load(from + c);
            if (c < m.group) sum += load_some(from + c, m.group - c);
            sums[t * groups + g] = add_up(sum);
        }
}

// Rows first .. last - 1 by tokens begin .. end - 1, a vector of tokens at a time; `packed` holds all tokens from 0.
template <typename W>
static void by_lanes(const Matrix& m, const W* w, int64_t first, int64_t last, const float* packed, int64_t begin,
                     int64_t end, const Output& to, std::vector<float>& scratch) {
    int64_t row = first;
    for (; row + LANE_ROWS <= last; row += LANE_ROWS)
        rows_by_lanes<LANE_ROWS>(m, w, row, packed, begin, end, to, scratch);
    for (; row + 2 <= last; row += 2) rows_by_lanes<2>(m, w, row, packed, begin, end, to, scratch);
    if (row < last) rows_by_lanes<1>(m, w, row, packed, begin, end, to, scratch);
}

// Rows first .. last - 1 of a product with weights stored by rows. Tokens that fill most of a vector are vectorized.
template <typename W>
static void in_rows(const Matrix& m, const W* w, int64_t first, int64_t last, const float* x, int64_t stride,
                    int64_t count, const Output& to, Scratch& scratch) {
    const int64_t rest = count % LANES, full = rest > FEW_LANES ? count : count - rest;
    const int64_t near = std::max<int64_t>(CACHE / (m.columns * (int64_t)sizeof(float)) / LANES * LANES, LANES);
    if (full) scratch.pack(x, stride, m.columns, full);
    for (int64_t begin = 0; begin < full; begin += near)
        by_lanes(m, w, first, last, scratch.packed.data(), begin, std::min(begin + near, full), to, scratch.weights);
    if (full < count) by_rows(m, w, first, last, x, stride, full, count, to);
}

// Rows first .. last - 1 (int4: first is a multiple of 64) of a product of `count` tokens x [count, C], `stride` apart.
static void linear(const Matrix& m, int64_t first, int64_t last, const float* x, int64_t stride, int64_t count,
                   const Output& to, Scratch& scratch) {
    if (m.kind == FLOAT32) return in_rows(m, (const float*)m.values, first, last, x, stride, count, to, scratch);
    if (m.kind == INT8) return in_rows(m, (const int8_t*)m.values, first, last, x, stride, count, to, scratch);
    const int64_t near = std::max<int64_t>(CACHE / (m.columns * (int64_t)sizeof(float)) / 12 * 12, 12);
    for (int64_t begin = 0; begin < count; begin += near) {
        const int64_t end = std::min(begin + near, count);
        group_sums(m, x + begin * stride, stride, end - begin, scratch.sums);
        const float* sums = scratch.sums.data();
        const int64_t groups = m.columns / m.group;
        for (int64_t block = first / BLOCK_ROWS; block * BLOCK_ROWS < last; block++) {
            int64_t t = begin;
            for (; t + TILE_TOKENS4 <= end; t += TILE_TOKENS4)
                block_by_tokens<TILE_TOKENS4>(m, block, x, stride, sums + (t - begin) * groups, t, to);
            for (; t + 2 <= end; t += 2) block_by_tokens<2>(m, block, x, stride, sums + (t - begin) * groups, t, to);
            for (; t < end; t++) block_by_tokens<1>(m, block, x, stride, sums + (t - begin) * groups, t, to);
        }
    }
}
