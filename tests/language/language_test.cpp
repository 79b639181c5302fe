// The language of kernels, judged by itself: every check of checks.hpp on the SIMT device and on a GPU, and
// the functions of one float over all floats.
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>

#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/error.hpp"
#include "kernels/device.cuh"
#include "tests/language/checks.hpp"

namespace m40llm::testing {
namespace {

class Language : public ::testing::TestWithParam<Check> {};

TEST_P(Language, OnTheSimtDevice) {
  for (const auto order : {SimtOrder::ascending, SimtOrder::random}) {
    DeviceOptions options;
    options.simt_order = order;
    options.simt_seed = 5;
    options.simt_workers = 2;
    EXPECT_EQ(GetParam().run(*open_simt_device(options)), "");
  }
}

/// The GPU in both arms, what an M40 runs and its own code; none where there is no GPU.
std::vector<std::unique_ptr<Device>> open_gpu() {
  try {
    cuda::list_gpus();
  } catch (const Error&) {
    return {};
  }
  std::vector<std::unique_ptr<Device>> devices;
  for (const char* image : {"compute_52", "auto"})
    devices.push_back(open_device({.device = "cuda", .image = image}));
  return devices;
}

TEST_P(Language, OnAGpu) {
  const auto devices = open_gpu();
  if (devices.empty()) GTEST_SKIP() << "no GPU";
  for (const auto& device : devices) EXPECT_EQ(GetParam().run(*device), "") << device->info().image;
}

INSTANTIATE_TEST_SUITE_P(Checks, Language, ::testing::ValuesIn(checks()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(LanguageOverAllFloats, OnAGpu) {
  const auto devices = open_gpu();
  if (devices.empty()) GTEST_SKIP() << "no GPU";
  for (const auto& device : devices) {
    EXPECT_EQ(hash_of_all_exp(*device), kExpHash) << device->info().image;
    EXPECT_EQ(hash_of_all_halves(*device), kHalfHash) << device->info().image;
  }
}

#if !defined(M40LLM_CHECKED)
/// Calls part(first, piece) for pieces of 2^14 bit patterns, in order within each chunk, the chunks on all
/// cores; piece: what part fills. The hash of all it was filled with.
template <class T, class Part>
std::uint64_t over_all_floats(Part part) {
  constexpr std::uint32_t kPiece = 1u << 14;
  std::array<std::uint64_t, 256> hashes{};
  std::atomic<std::uint32_t> next = 0;
  const auto work = [&] {
    std::vector<T> piece(kPiece);
    XXH3_state_t* const state = XXH3_createState();
    for (std::uint32_t chunk = next++; chunk < hashes.size(); chunk = next++) {
      XXH3_64bits_reset(state);
      for (std::uint32_t at = 0; at < kChunk; at += kPiece) {
        part(chunk * kChunk + at, std::span(piece));
        XXH3_64bits_update(state, piece.data(), kPiece * sizeof(T));
      }
      hashes[chunk] = XXH3_64bits_digest(state);
    }
    XXH3_freeState(state);
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  return XXH3_64bits(hashes.data(), sizeof hashes);
}

TEST(LanguageOverAllFloats, ExpIsAsPromised) {
  std::mutex mutex;
  double worst = 0;
  std::uint32_t worst_at = 0;
  const std::uint64_t hash = over_all_floats<std::uint32_t>([&](std::uint32_t first, auto piece) {
    for (std::uint32_t i = 0; i < piece.size(); ++i) {
      const float y = exp_f32(bits_to_float(first + i));
      piece[i] = y == y ? float_to_bits(y) : 0x7fffffffu;
    }
    double error = 0;
    std::uint32_t at = 0;
    // Where the right result is 1, 0, infinite or NaN for all of the piece: from 2^-25 down, which is nearer to
    // 1 than to its neighbours, and from 104 up.
    const std::uint32_t lowest = first & 0x7fffffff;
    const std::uint32_t highest = lowest + static_cast<std::uint32_t>(piece.size()) - 1;
    if (highest < 0x33000000 || lowest >= 0x42d00000) {
      std::uint32_t want = 0x3f800000;
      if (lowest >= 0x42d00000) want = first >> 31 != 0 ? 0 : 0x7f800000;
      for (std::uint32_t i = 0; i < piece.size(); ++i) {
        const std::uint32_t expected = lowest + i > 0x7f800000 ? 0x7fffffff : want;
        if (piece[i] != expected) error = exp_error(bits_to_float(first + i), bits_to_float(piece[at = i]));
      }
    } else {
      for (std::uint32_t i = 0; i < piece.size(); ++i) {
        const double here = exp_error(bits_to_float(first + i), bits_to_float(piece[i]));
        if (here > error) error = here, at = i;
      }
    }
    const std::lock_guard lock(mutex);
    if (error > worst) worst = error, worst_at = first + at;
  });
  RecordProperty("worst_ulp", std::to_string(worst));
  std::cout << "exp_f32: at most " << worst << " ulp off, at " << bits_to_float(worst_at) << "\n";
  EXPECT_LE(worst, kExpUlps) << "at the float of bits " << worst_at;
  EXPECT_EQ(hash, kExpHash);
}

TEST(LanguageOverAllFloats, HalvesAreNearest) {
  const HalfRounding rounding;
  std::atomic<std::uint64_t> n_wrong = 0;
  std::atomic<std::uint32_t> one_of_them = 0;
  const std::uint64_t hash = over_all_floats<std::uint16_t>([&](std::uint32_t first, auto piece) {
    for (std::uint32_t i = 0; i < piece.size(); ++i) piece[i] = float_to_half(bits_to_float(first + i)).bits;
    thread_local std::vector<std::uint16_t> want;
    want.resize(piece.size());
    rounding.round(first, want);
    for (std::uint32_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != want[i]) ++n_wrong, one_of_them = first + i;
    }
  });
  EXPECT_EQ(n_wrong, 0u) << "one of them is the float of bits " << one_of_them;
  EXPECT_EQ(hash, kHalfHash);
}
#endif

}  // namespace
}  // namespace m40llm::testing
