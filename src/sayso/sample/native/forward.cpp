// A forward pass of a Transformer over N tokens on a CPU, and the logits of its hidden states.
//
// Takes embedded tokens, returns normed last hidden states; keys and values are stored in the pages of a cache. Every
// result depends only on its own token's row: the order of each sum does not depend on other tokens in the pass or on
// the number of threads. N tokens, C width, H heads, K key-value heads, D head size, M MLP width, V vocabulary.
#include "linear.h"
#include "parts.h"
#include "steps.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

struct Layer {
    Norm attention_norm, attention_post_norm, query_norm, key_norm, mlp_norm, mlp_post_norm;
    Matrix query, key, value, out, gate, up, down;  // gate has no rows if the MLP is not gated
    const float *cos, *sin;                         // [positions, D], or null
    void *keys, *values;                            // float or int8 [blocks, PAGE, K, D]
    float *key_scales, *value_scales;               // [blocks, PAGE, K] of int8, or null
    int64_t window;                                 // 0: unlimited
};

struct Model {
    int64_t layers, width, heads, kv_heads, size, mlp_width, mlp, norm_whole;
    double attention_cap, logit_cap;
    const Layer* layer;
    Norm norm;
    Matrix head;
};

struct Pass {
    int64_t tokens, table_width, threads;
    const int64_t* positions;  // [N]
    const int32_t* rows;       // [N]: index of the table
    const int32_t* tables;     // [rows, table_width]
};

namespace {

constexpr int64_t FEW = 2;  // tokens up to which one thread does the work between products, without a step

struct Share {  // memory of one thread
    Scratch scratch;
    std::vector<float> scores;
};

int64_t unit_of(const Matrix& m) { return m.kind == INT4 ? BLOCK_ROWS : 16; }

class Run {
public:
    Run(const Model& model, const Pass& pass, float* x, float* out)
        : m(model), pass(pass), x(x), out(out), n(pass.tokens), steps(8 * model.layers + 1),
          queries(m.heads * m.size), held(m.kv_heads * m.size), h(n * m.width), q(n * queries), k(n * held),
          v(n * held), mixed(n * queries), gate(m.layer[0].gate.rows ? n * m.mlp_width : 0), up(n * m.mlp_width) {}

    void all(Share& share) {
        steps.each(share.scratch.step, n, [&](int64_t t) { norm(m.layer[0].attention_norm, t, h.data()); });
        for (int64_t i = 0; i < m.layers; i++) {
            const Layer& layer = m.layer[i];
            const bool last = i + 1 == m.layers;
            project(layer, share);
            mix(layer, share);
            join(layer.out, mixed.data(), layer.attention_post_norm, layer.mlp_norm, h.data(), share);
            feed(layer, share);
            join(layer.down, up.data(), layer.mlp_post_norm, last ? m.norm : m.layer[i + 1].attention_norm,
                 last ? out : h.data(), share);
        }
    }

private:
    // A step over the rows of a product, then each_token(t) for each token: as a separate step, or on the last thread to
    // finish if there are few tokens.
    template <typename P, typename F>
    void product_then(Share& share, int64_t rows, int64_t unit, P piece, F each_token) {
        const bool few = n <= FEW;
        steps.pieces(share.scratch.step, rows, unit, piece, [&] { for (int64_t t = 0; few && t < n; t++) each_token(t); });
        if (!few) steps.each(share.scratch.step, n, each_token);
    }

    void norm(const Norm& norm, int64_t t, float* to) { apply_norm(norm, x + t * m.width, to + t * m.width, m.width); }

    void project(const Layer& layer, Share& share) {
        const Matrix* parts[] = {&layer.query, &layer.key, &layer.value};
        float* to[] = {q.data(), k.data(), v.data()};
        const int64_t unit = std::max({unit_of(*parts[0]), unit_of(*parts[1]), unit_of(*parts[2])});
        int64_t starts[4] = {0};
        for (int i = 0; i < 3; i++) starts[i + 1] = starts[i] + (parts[i]->rows + unit - 1) / unit * unit;
        const auto piece = [&](int64_t first, int64_t last) {
            for (int i = 0; i < 3; i++) {
                const int64_t a = std::max(first - starts[i], int64_t{0});
                const int64_t b = std::min(last - starts[i], parts[i]->rows);
                if (a >= b) continue;
                linear(*parts[i], a, b, h.data(), m.width, n, Output{to[i], parts[i]->rows, false}, share.scratch);
            }
        };
        product_then(share, starts[3], unit, piece, [&](int64_t t) { store_token(layer, t); });
    }

    // Normalizes and rotates a token's queries and keys; stores keys and values in their pages.
    void store_token(const Layer& layer, int64_t t) {
        float *query = &q[t * queries], *key = &k[t * held];
        if (m.norm_whole) {
            apply_norm(layer.query_norm, query, query, queries);
            apply_norm(layer.key_norm, key, key, held);
        }
        for (int64_t head = 0; head < m.heads; head++) rotate(layer, layer.query_norm, t, query + head * m.size);
        for (int64_t head = 0; head < m.kv_heads; head++) rotate(layer, layer.key_norm, t, key + head * m.size);
        const int64_t position = pass.positions[t];
        const int64_t place = (table(t)[position / PAGE] * PAGE + position % PAGE) * m.kv_heads;
        store_heads(layer.keys, layer.key_scales, place, key);
        store_heads(layer.values, layer.value_scales, place, &v[t * held]);
    }

    void store_heads(void* pages, float* scales, int64_t place, const float* from) {
        if (!scales) {
            std::memcpy((float*)pages + place * m.size, from, held * sizeof(float));
            return;
        }
        for (int64_t head = 0; head < m.kv_heads; head++)
            scales[place + head] =
                quantize8(from + head * m.size, (int8_t*)pages + (place + head) * m.size, m.size);
    }

    void rotate(const Layer& layer, const Norm& norm, int64_t t, float* head) {
        if (!m.norm_whole) apply_norm(norm, head, head, m.size);
        const int64_t angle = pass.positions[t] * m.size;
        if (layer.cos) apply_rotation(head, layer.cos + angle, layer.sin + angle, m.size);
    }

    void mix(const Layer& layer, Share& share) {
        // Heads that read the same keys and values are adjacent, for all tokens, because rows may share them too.
        const int64_t group = m.heads / m.kv_heads;
        steps.each(share.scratch.step, n * m.heads, [&](int64_t i) {
            const int64_t t = i / group % n, head = i / (group * n) * group + i % group, last = pass.positions[t];
            const int64_t first = layer.window ? std::max(last - layer.window + 1, int64_t{0}) : 0;
            const size_t room = last - first + 1 + PAGE + LANES;
            if (share.scores.size() < room) share.scores.resize(2 * room);
            if (layer.key_scales) attend_one<int8_t>(layer, t, head, first, share);
            else attend_one<float>(layer, t, head, first, share);
        });
    }

    template <typename W>
    void attend_one(const Layer& layer, int64_t t, int64_t head, int64_t first, Share& share) {
        const int64_t i = t * m.heads + head, group = head / (m.heads / m.kv_heads), skip = group * m.size;
        const float* scales[] = {layer.key_scales, layer.value_scales};
        if (scales[0]) scales[0] += group, scales[1] += group;
        const Cached<W> seen{(const W*)layer.keys + skip, (const W*)layer.values + skip, scales[0], scales[1], table(t),
                             m.kv_heads, m.size};
        attend(&q[i * m.size], seen, first, pass.positions[t], (float)m.attention_cap, share.scores.data(),
               &mixed[i * m.size]);
    }

    void feed(const Layer& layer, Share& share) {
        const bool gated = layer.gate.rows > 0;
        const int64_t unit = std::max(unit_of(layer.up), unit_of(layer.gate));
        const auto piece = [&](int64_t first, int64_t last) {
            const Output to_gate{gate.data(), m.mlp_width, false}, to_up{up.data(), m.mlp_width, false};
            if (gated) linear(layer.gate, first, last, h.data(), m.width, n, to_gate, share.scratch);
            linear(layer.up, first, last, h.data(), m.width, n, to_up, share.scratch);
            for (int64_t t = 0; t < n; t++) {
                const int64_t place = t * m.mlp_width + first;
                activate(m.mlp, gated ? &gate[place] : nullptr, &up[place], last - first);
            }
        };
        steps.pieces(share.scratch.step, m.mlp_width, unit, piece, [] {});
    }

    // Projects the output of a sublayer and adds it, normed if the model does so, to the residual stream; then norms
    // the stream for the next sublayer.
    void join(const Matrix& matrix, const float* from, const Norm& post, const Norm& next, float* to, Share& share) {
        const bool direct = post.kind == NO_NORM;
        const Output out{direct ? x : h.data(), m.width, direct};
        const auto piece = [&](int64_t first, int64_t last) {
            linear(matrix, first, last, from, matrix.columns, n, out, share.scratch);
        };
        product_then(share, m.width, unit_of(matrix), piece, [&](int64_t t) {
            if (!direct) {
                apply_norm(post, &h[t * m.width], &h[t * m.width], m.width);
                for (int64_t c = 0; c < m.width; c++) x[t * m.width + c] += h[t * m.width + c];
            }
            norm(next, t, to);
        });
    }

    const int32_t* table(int64_t t) const { return pass.tables + pass.rows[t] * pass.table_width; }

    const Model& m;
    const Pass& pass;
    float *const x, *const out;
    const int64_t n;
    Steps steps;
    const int64_t queries, held;  // numbers per token of queries, and of keys
    std::vector<float> h, q, k, v, mixed, gate, up;
};

}  // namespace

// Takes embedded tokens x [N, C], which it overwrites; writes normed last hidden states to out [N, C].
extern "C" void sayso_hidden(const Model* model, const Pass* pass, float* x, float* out) {
    Run run(*model, *pass, x, out);
#pragma omp parallel num_threads(pass->threads)
    {
        Share share;
        run.all(share);
    }
}

// Writes the logits [N, V] of hidden states [N, C].
extern "C" void sayso_head(const Model* model, const float* hidden, int64_t tokens, int64_t threads, float* logits) {
    const Matrix& head = model->head;
    const float cap = (float)model->logit_cap;
    Steps steps(1);
#pragma omp parallel num_threads(threads)
    {
        Share share;
        const auto piece = [&](int64_t first, int64_t last) {
            linear(head, first, last, hidden, head.columns, tokens, Output{logits, head.rows, false}, share.scratch);
            for (int64_t t = 0; cap > 0 && t < tokens; t++)
                change(logits + t * head.rows + first, last - first,
                       [&](Vec v, int64_t) { return cap * hyperbolic_tangent(v / cap); });
        };
        steps.pieces(share.scratch.step, head.rows, unit_of(head), piece, [] {});
    }
}

// Asks Linux to move weights to large pages: with small ones, address translation takes as long as reading.
// Addresses and contents do not change; without support in the kernel, nothing happens.
extern "C" void sayso_use_large_pages(const void* weights, int64_t bytes) {
#if defined(__linux__)
    constexpr int collapse = 25;  // MADV_COLLAPSE, Linux 6.1
    constexpr uintptr_t large = 2 << 20;
    const uintptr_t first = (uintptr_t)weights / large * large;
    const uintptr_t last = ((uintptr_t)weights + bytes + large - 1) / large * large;
    for (uintptr_t page = first; page < last; page += large) madvise((void*)page, large, collapse);
#endif
}
