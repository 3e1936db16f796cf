// Vectors of floats with the compiler's vector extension: one source for AVX-512, AVX2, NEON and other processors.
//
// A sum over many numbers uses LANES running sums, where lane l adds those at l, l + LANES, ...; at the end they are
// added up as a tree of halves. The order of a sum is the same everywhere, so its bits are too.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef int32_t IntVec __attribute__((vector_size(LANES * 4)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));
typedef uint8_t UBytes __attribute__((vector_size(LANES)));

static inline Vec splat(float x) { return x - Vec{}; }  // x - 0 is x; x + 0 would change -0

static inline Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// a b + c, rounded once if the processor supports it. The compiler must not contract expressions by itself
// (-ffp-contract=off), because its choice depends on the surrounding code.
static inline Vec fused(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FP_FAST_FMAF)
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

static inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

static inline Vec load(const int8_t* p) {
    Bytes b;
    std::memcpy(&b, p, sizeof b);
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)b));
#else
    return __builtin_convertvector(__builtin_convertvector(b, IntVec), Vec);
#endif
}

// The first `count` numbers, fewer than LANES, padded with zeros.
template <typename T>
static inline Vec load_some(const T* p, int64_t count) {
    T part[LANES] = {};
    std::memcpy(part, p, count * sizeof(T));
    return load(part);
}

// Adds the two halves of a vector until one number remains.
static inline float add_up(Vec v) {
#if defined(__AVX512F__)
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256((__m512)v),
                                 _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd((__m512)v), 1)));
#elif defined(__AVX__)
    __m256 eight = (__m256)v;
#endif
#if defined(__AVX__)
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
    float x[LANES];
    store(x, v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
#endif
}

// Four sums at once, each added up as above.
static inline void add_up(const Vec (&v)[4], float* out) {
#if defined(__AVX512F__)
    const auto halves = [](Vec a, Vec b) {  // of a, then of b
        return _mm512_add_ps(_mm512_shuffle_f32x4((__m512)a, (__m512)b, 0x44),
                             _mm512_shuffle_f32x4((__m512)a, (__m512)b, 0xee));
    };
    const __m512 a = halves(v[0], v[1]), b = halves(v[2], v[3]);
    __m512 four = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    four = _mm512_add_ps(four, _mm512_shuffle_ps(four, four, 0x4e));
    four = _mm512_add_ps(four, _mm512_shuffle_ps(four, four, 0xb1));
    float x[LANES];
    store(x, (Vec)four);
    for (int i = 0; i < 4; i++) out[i] = x[4 * i];
#else
    for (int i = 0; i < 4; i++) out[i] = add_up(v[i]);
#endif
}

static inline Vec pick(IntVec where, Vec a, Vec b) { return (Vec)(((IntVec)a & where) | ((IntVec)b & ~where)); }

// e^x to about a unit in the last place: 2^n times a polynomial in r, |r| <= ln 2 / 2 (as in Cephes' expf).
static inline Vec exponential(Vec x) {
    x = pick(x > splat(88.0f), splat(88.0f), x);
    x = pick(x < splat(-87.0f), splat(-87.0f), x);
    const Vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    Vec shifted = fused(x, splat(1.44269504f), magic);
    Vec n = shifted - magic;
    Vec r = fused(n, splat(2.12194440e-4f), fused(n, splat(-0.693359375f), x));
    Vec p = splat(1.9875691500e-4f);
    p = fused(p, r, splat(1.3981999507e-3f));
    p = fused(p, r, splat(8.3334519073e-3f));
    p = fused(p, r, splat(4.1665795894e-2f));
    p = fused(p, r, splat(1.6666665459e-1f));
    p = fused(p, r, splat(5.0000001201e-1f));
    p = fused(p * r, r, r) + 1.0f;
    IntVec power = ((IntVec)shifted - (IntVec)magic + 127) << 23;
    return p * (Vec)power;
}

static inline Vec hyperbolic_tangent(Vec x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

// Replaces each vector of p[0 .. count), the last padded with zeros, by f of it.
template <typename F>
static inline void change(float* p, int64_t count, F f) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(p + i, f(load(p + i), i));
    if (i < count) {
        Vec v = f(load_some(p + i, count - i), i);
        std::memcpy(p + i, &v, (count - i) * sizeof(float));
    }
}

template <typename W>
static inline float dot(const float* a, const W* b, int64_t count) {
    Vec sum = {};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) sum = fused(load(a + i), load(b + i), sum);
    if (i < count) sum = fused(load_some(a + i, count - i), load_some(b + i, count - i), sum);
    return add_up(sum);
}

// Four dot products with one vector, each as above.
template <typename W>
static inline void dot(const float* a, const W* const (&b)[4], int64_t count, float* out) {
    Vec sum[4] = {};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const Vec from = load(a + i);
        for (int j = 0; j < 4; j++) sum[j] = fused(from, load(b[j] + i), sum[j]);
    }
    if (i < count)
        for (int j = 0; j < 4; j++) sum[j] = fused(load_some(a + i, count - i), load_some(b[j] + i, count - i), sum[j]);
    add_up(sum, out);
}
