// The steps of a pass, which all threads execute together.
//
// Threads take pieces of a step as they become free, and the next step begins when all pieces are done. At the end of a
// step, threads spin for a moment, which costs less than sleeping; then they sleep, to leave the processor to others.
// They look again after each nap and need not be woken, so that no wake-up can be lost.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

extern "C" int omp_get_num_threads();

constexpr int64_t PIECES = 4;    // per thread and step, so that other threads can help a slow one
constexpr int PATIENCE = 4000;   // polls before sleeping: longer than the skew between threads that all run
constexpr std::chrono::microseconds NAP{20};

static inline void spin() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

class Steps {
public:
    explicit Steps(int64_t count) : next_(new Counter[count]()) {}

    // Calls f(i) for i of 0 .. count - 1, each on some thread, then after() once on the last thread to finish; returns
    // when everything is done. `step` is the calling thread's own count of steps.
    template <typename F, typename A>
    void each(int64_t& step, int64_t count, F f, A after) {
        auto& next = next_[step++].value;
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(i);
        if (arrived_.value.fetch_add(1, std::memory_order_acq_rel) == step * omp_get_num_threads() - 1) {
            after();
            done_.store(step, std::memory_order_release);
            return;
        }
        for (int polls = 0; polls < PATIENCE && done_.load(std::memory_order_acquire) < step; polls++) spin();
        while (done_.load(std::memory_order_acquire) < step) std::this_thread::sleep_for(NAP);
    }

    template <typename F>
    void each(int64_t& step, int64_t count, F f) {
        each(step, count, f, [] {});
    }

    // Calls f(first, last) for pieces of 0 .. rows - 1 that begin at multiples of `unit`, then `after()`.
    template <typename F, typename A>
    void pieces(int64_t& step, int64_t rows, int64_t unit, F f, A after) {
        const int64_t units = (rows + unit - 1) / unit;
        const int64_t size = std::max<int64_t>(units / (omp_get_num_threads() * PIECES), 1) * unit;
        each(step, (rows + size - 1) / size, [&](int64_t i) { f(i * size, std::min(rows, (i + 1) * size)); }, after);
    }

private:
    struct alignas(64) Counter {
        std::atomic<int64_t> value{0};
    };
    std::unique_ptr<Counter[]> next_;
    Counter arrived_;
    alignas(64) std::atomic<int64_t> done_{0};  // steps
};
