// Products y = x W^T + bias of N tokens, for weights in float32, int8 (a scale a row) and int4 (groups of a row).
//
// float32 and int8 lie by rows, and a sum runs along a row. int4 lies by blocks of 64 rows, column after column: byte b of
// a column's 32 holds row b in its low half and row b + 32 in its high half (as torch packs for AVX-512), so that a lane
// is a row. A tile of some rows and tokens is computed in registers; tiles only say what is computed together, never the
// order of a sum. R rows (outputs), C columns (inputs), G groups.
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

enum Kind { FLOAT32 = 0, INT8 = 1, INT4 = 2 };

struct Matrix {
    const void* values;   // float [R, C], int8 [R, C], or nibbles [R / 64, C, 32]
    const float* scales;  // of int8, [R]
    const uint16_t* grid; // of int4, bfloat16 [G, R, 2]: scale and the value of 8; or null and the next
    const float* wide;    // the same in float32
    const float* bias;    // [R] or null
    int64_t rows, columns, group, kind;
};

constexpr int BLOCK_ROWS = 64;
#if defined(__AVX512F__)
constexpr int TILE_ROWS = 4, TILE_TOKENS = 6, TILE_TOKENS4 = 4;
#else
constexpr int TILE_ROWS = 4, TILE_TOKENS = 2, TILE_TOKENS4 = 1;
#endif
constexpr int64_t CACHE = 256 * 1024;  // bytes of inputs that are to stay near while weights pass by

struct Output {
    float* y;
    int64_t stride;
    bool add;  // to what is there
    void put(int64_t token, int64_t row, float value) const {
        float& place = y[token * stride + row];
        place = add ? place + value : value;
    }
};

// R rows by T tokens, each sum along the columns; weights of a type that `load` takes.
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

// Few tokens: one row after the other, so that weights come from memory in the order in which they lie. Many: several
// rows at once, so that inputs are read less often; what is not float is made so once, which gives the same numbers.
template <typename W>
static void by_rows(const Matrix& m, const W* w, int64_t first, int64_t last, const float* x, int64_t stride,
                    int64_t begin, int64_t end, const Output& to, std::vector<float>& scratch) {
    int64_t row = first;
    if (end - begin > TILE_TOKENS)
        for (; row + TILE_ROWS <= last; row += TILE_ROWS) {
            const W* here = w + row * m.columns;
            if constexpr (sizeof(W) == sizeof(float)) {
                rows_by_all<TILE_ROWS>(m, here, row, x, stride, begin, end, to);
            } else {
                scratch.assign(here, here + TILE_ROWS * m.columns);
                rows_by_all<TILE_ROWS>(m, scratch.data(), row, x, stride, begin, end, to);
            }
        }
    for (; row < last; row++) rows_by_all<1>(m, w + row * m.columns, row, x, stride, begin, end, to);
}

static inline float from_bfloat16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    std::memcpy(&x, &wide, sizeof x);
    return x;
}

// One column of a block of 64 rows as float, less 8: rows 0 .. LANES - 1, then the next.
static inline void unpack(const uint8_t* p, Vec (&w)[BLOCK_ROWS / LANES]) {
    constexpr int half = BLOCK_ROWS / LANES / 2;
    for (int v = 0; v < half; v++) {
        UBytes bytes;
        std::memcpy(&bytes, p + v * LANES, sizeof bytes);
#if defined(__AVX512F__)
        const __m512 numbers = _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
        __m512i wide = _mm512_cvtepu8_epi32((__m128i)bytes);
        w[v] = (Vec)_mm512_permutexvar_ps(wide, numbers);  // a look-up by the low 4 bits
        w[half + v] = (Vec)_mm512_permutexvar_ps(_mm512_srli_epi32(wide, 4), numbers);
#else
        IntVec wide = __builtin_convertvector(bytes, IntVec);
        w[v] = __builtin_convertvector((wide & 15) - 8, Vec);
        w[half + v] = __builtin_convertvector((wide >> 4) - 8, Vec);
#endif
    }
}

// The scales of a group for LANES rows from `row` on, and what an 8 stands for there.
static inline void grid_at(const Matrix& m, int64_t g, int64_t row, Vec& scale, Vec& middle) {
    if (m.grid && row + LANES <= m.rows) {
        IntVec both;  // the scale in the lower half of each
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

// Memory of one thread that products use.
struct Scratch {
    std::vector<float> weights, sums;
};

// Rows first .. last - 1 (of int4: from a multiple of 64) of a product of `count` tokens x [count, C], `stride` apart.
static void linear(const Matrix& m, int64_t first, int64_t last, const float* x, int64_t stride, int64_t count,
                   const Output& to, Scratch& scratch) {
    int64_t near = std::max<int64_t>(CACHE / (m.columns * (int64_t)sizeof(float)) / 12 * 12, 12);
    for (int64_t begin = 0; begin < count; begin += near) {
        const int64_t end = std::min(begin + near, count);
        if (m.kind == FLOAT32) {
            by_rows(m, (const float*)m.values, first, last, x, stride, begin, end, to, scratch.weights);
            continue;
        }
        if (m.kind == INT8) {
            by_rows(m, (const int8_t*)m.values, first, last, x, stride, begin, end, to, scratch.weights);
            continue;
        }
        group_sums(m, x + begin * stride, stride, end - begin, scratch.sums);
        const float* sums = scratch.sums.data();
        const int64_t groups = m.columns / m.group;
        for (int64_t block = first / BLOCK_ROWS; block * BLOCK_ROWS < last; block++) {
            int64_t t = begin;
            for (; t + TILE_TOKENS4 <= end; t += TILE_TOKENS4)
                block_by_tokens<TILE_TOKENS4>(m, block, x, stride, sums + (t - begin) * groups, t, to);
            for (; t < end; t++) block_by_tokens<1>(m, block, x, stride, sums + (t - begin) * groups, t, to);
        }
    }
}
