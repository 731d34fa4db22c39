#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

// A long suite runs whole under BAILIFF_TESTS_FULL, and else a sample that BAILIFF_TESTS_SEED
// chooses.

namespace bailiff {

inline bool RunsWhole() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in a test changes the environment.
  return std::getenv("BAILIFF_TESTS_FULL") != nullptr;
}

inline std::uint64_t SampleSeed() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in a test changes the environment.
  const char* seed = std::getenv("BAILIFF_TESTS_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

// Chooses about `wanted` of `all` cases, spread evenly and begun at a random one; all of them in a
// whole run. Says what it does, so that a failure can be tried again.
class Sample {
 public:
  Sample(const std::string& what, std::size_t all, std::size_t wanted) {
    const bool whole = RunsWhole() || wanted >= all;
    stride_ = whole ? 1 : all / wanted;
    std::mt19937_64 random(SampleSeed());
    offset_ = whole ? 0 : static_cast<std::size_t>(random() % stride_);
    std::cout << what << ": " << (all + stride_ - 1 - offset_) / stride_ << " of " << all
              << " (seed " << SampleSeed() << ")\n";
  }

  bool Has(std::size_t index) const { return index % stride_ == offset_; }

 private:
  std::size_t stride_ = 1;
  std::size_t offset_ = 0;
};

}  // namespace bailiff
