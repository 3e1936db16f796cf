// The operations between the products: norms, rotary embedding, activations, and attention over paged keys and values.
//
// Each processes one token, or one head of one token, so that its bits do not depend on other tokens.
#pragma once

#include <cfloat>
#include <cmath>

#include "vectors.h"

enum NormKind { NO_NORM = 0, RMS = 1, LAYER = 2 };
enum Activation { SWIGLU = 0, GEGLU = 1, GELU = 2, RELU2 = 3, RELU = 4 };
constexpr int64_t PAGE = 16;  // positions in a block of the cache

struct Norm {
    const float* gain;
    const float* shift;  // of a layer norm, or null
    double eps;
    int64_t kind;
};

// y = norm(x); y may be x.
static void apply_norm(const Norm& norm, const float* x, float* y, int64_t size) {
    if (norm.kind == NO_NORM) {
        if (y != x) std::memcpy(y, x, size * sizeof(float));
        return;
    }
    float mean = 0;
    if (norm.kind == LAYER) {
        Vec sum = {};
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES) sum += load(x + i);
        if (i < size) sum += load_some(x + i, size - i);
        mean = add_up(sum) / size;
    }
    if (y != x) std::memcpy(y, x, size * sizeof(float));
    if (norm.kind == LAYER) change(y, size, [&](Vec v, int64_t) { return v - mean; });
    const float scale = 1.0f / std::sqrt(dot(y, y, size) / size + (float)norm.eps);
    for (int64_t i = 0; i < size; i++) {
        float value = y[i] * scale * norm.gain[i];
        y[i] = norm.shift ? value + norm.shift[i] : value;
    }
}

// Rotates x [size] by the angles of `rotary_angles`: x cos + swapped(x) sin, where swapped exchanges the halves of x.
static void apply_rotation(float* x, const float* cos, const float* sin, int64_t size) {
    const int64_t half = size / 2;
    for (int64_t i = 0; i < half; i++) {
        const float first = x[i], second = x[half + i];
        x[i] = first * cos[i] + second * sin[i];
        x[half + i] = second * cos[half + i] + first * sin[half + i];
    }
}

static inline Vec gelu(Vec x) {
    return 0.5f * x * (1.0f + hyperbolic_tangent(0.7978845608f * (x + 0.044715f * x * x * x)));
}

// Sets up[0 .. count) to f(gate) * up, or to f(up) if not gated.
static void activate(int64_t kind, const float* gate, float* up, int64_t count) {
    change(up, count, [&](Vec u, int64_t i) {
        if (kind == RELU2) return pick(u > 0.0f, u, Vec{}) * pick(u > 0.0f, u, Vec{});
        if (kind == RELU) return pick(u > 0.0f, u, Vec{});
        if (kind == GELU) return gelu(u);
        Vec g = i + LANES <= count ? load(gate + i) : load_some(gate + i, count - i);
        return (kind == GEGLU ? gelu(g) : g / (1.0f + exponential(-g))) * u;
    });
}

// Keys and values of one head in the pages of a layer, of type W: float, or int8 with a scale per position.
template <typename W>
struct Cached {
    const W *keys, *values;                   // of the head, at the start of block 0
    const float *key_scales, *value_scales;   // the same; null for float
    const int32_t* table;                     // blocks of the row
    int64_t heads, size;                      // K and D
    int64_t at(int64_t position) const { return (table[position / PAGE] * PAGE + position % PAGE) * heads; }
};

// out [size] = softmax(q k^T / sqrt(size)) v over positions first .. last, inclusive; `scores` has room for
// last - first + PAGE + LANES numbers. Sums start at a block boundary, even if a window starts within the block.
template <typename W>
static void attend(const float* q, const Cached<W>& seen, int64_t first, int64_t last, float cap, float* scores,
                   float* out) {
    const int64_t begin = first / PAGE * PAGE, count = last + 1 - begin, size = seen.size;
    const float scale = 1.0f / std::sqrt((float)size);
    for (int64_t i = 0; i < first - begin; i++) scores[i] = -INFINITY;
    int64_t i = first - begin;
    for (; i + 4 <= count; i += 4) {
        const W* keys[4];
        for (int j = 0; j < 4; j++) keys[j] = seen.keys + seen.at(begin + i + j) * size;
        dot(q, keys, size, scores + i);
    }
    for (; i < count; i++) scores[i] = dot(q, seen.keys + seen.at(begin + i) * size, size);
    for (i = first - begin; i < count; i++) {
        const float product = scores[i];
        scores[i] = (seen.key_scales ? product * seen.key_scales[seen.at(begin + i)] : product) * scale;
    }
    if (cap > 0) change(scores + first - begin, last + 1 - first, [&](Vec s, int64_t) {
            return cap * hyperbolic_tangent(s / cap);
        });
    float best = scores[first - begin];
    for (int64_t i = first - begin; i < count; i++) best = scores[i] > best ? scores[i] : best;
    for (int64_t i = count; i % LANES; i++) scores[i] = -INFINITY;
    Vec sum = {};
    for (int64_t i = 0; i < count; i += LANES) {
        Vec s = load(scores + i);
        Vec weight = pick(s == -INFINITY, Vec{}, exponential(s - best));
        store(scores + i, weight);
        sum += weight;
    }
    const float inverse = 1.0f / add_up(sum);
    if (seen.value_scales)
        for (int64_t i = first - begin; i < count; i++) scores[i] *= seen.value_scales[seen.at(begin + i)];
    constexpr int V = 4;
    int64_t d = 0;
    for (; d + V * LANES <= size; d += V * LANES) {
        Vec mix[V] = {};
        for (int64_t i = first - begin; i < count; i++) {
            const W* value = seen.values + seen.at(begin + i) * size + d;
            for (int v = 0; v < V; v++) mix[v] = fused(splat(scores[i]), load(value + v * LANES), mix[v]);
        }
        for (int v = 0; v < V; v++) store(out + d + v * LANES, mix[v] * inverse);
    }
    for (; d < size; d += LANES) {
        const int64_t width = size - d < LANES ? size - d : LANES;
        Vec mix = {};
        for (int64_t i = first - begin; i < count; i++)
            mix = fused(splat(scores[i]), load_some(seen.values + seen.at(begin + i) * size + d, width), mix);
        mix *= inverse;
        std::memcpy(out + d, &mix, width * sizeof(float));
    }
}

// Quantizes x [size] to int8 with the scale max |x| / 127, which is returned.
static float quantize8(const float* x, int8_t* to, int64_t size) {
    float most = 0;
    for (int64_t i = 0; i < size; i++) most = std::fmax(most, std::fabs(x[i]));
    const float scale = std::fmax(most, FLT_MIN) / 127;
    for (int64_t i = 0; i < size; i++) to[i] = (int8_t)std::nearbyint(x[i] / scale);
    return scale;
}
