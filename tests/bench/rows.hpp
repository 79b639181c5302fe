#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/random.hpp"
#include "engine/device/buffer.hpp"
#include "engine/device/device.hpp"
#include "engine/ops/argmax.hpp"
#include "engine/ops/attention_decode.hpp"
#include "engine/ops/kv_append.hpp"
#include "engine/ops/rope.hpp"
#include "reference/half.hpp"

/// Rows of a launch: each must have the bits that it has alone, whatever stands beside it and in whatever order.
namespace m40llm::testing {

namespace rows {

constexpr int kRows = 4;
/// Of each row: where it stands, and its sequence in a cache of four.
constexpr int kPosition[kRows] = {5, 0, 199, 64};
constexpr int kSequence[kRows] = {2, 0, 3, 1};
constexpr int kCapacity = 200;

using Bits = std::vector<std::byte>;
/// Some rows in one launch: what each wrote. Alone, a row has a cache to itself.
using RunRows = std::function<std::vector<Bits>(std::span<const int> rows)>;

template <class T>
Bits bits_of(std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

inline std::vector<float> normal(std::size_t n, std::uint64_t stream) {
  bench::Random random(1, stream);
  std::vector<float> values(n);
  for (float& value : values) value = random.normal();
  return values;
}

inline std::vector<half> halves(std::size_t n, std::uint64_t stream) {
  std::vector<half> values;
  for (const float value : normal(n, stream))
    values.push_back({reference::double_to_half(static_cast<double>(value))});
  return values;
}

/// Of `all`, in pieces of n, those of the rows, one behind the other.
template <class T>
std::vector<T> gathered(const std::vector<T>& all, std::size_t n, std::span<const int> rows) {
  std::vector<T> values;
  for (const int row : rows) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(n * static_cast<std::size_t>(row));
    values.insert(values.end(), first, first + static_cast<std::ptrdiff_t>(n));
  }
  return values;
}

/// Device memory and what it takes to launch.
struct Bench {
  Device& device;
  unsigned blocks = 0;  // of every launch, unless 0: then the variant's own
  int n_sms = device.n_sms();
  std::string wrong = {};  // with the memory that variants work in
  static constexpr std::size_t kGuard = 4096;
  std::unique_ptr<Stream> stream = device.create_stream();

  template <class T>
  Buffer<T> up(const std::vector<T>& values) {
    Buffer<T> buffer(device, values.size(), "rows");
    buffer.upload(*stream, values);
    stream->synchronize();
    return buffer;
  }
  template <class Params>
  void launch(const Variant<Params>& variant, const Params& params) {
    const std::size_t n_scratch = variant.scratch_bytes(params, n_sms);
    const Buffer<std::byte> scratch(device, n_scratch + kGuard, "rows");
    const std::size_t n_state = variant.state_bytes(params, n_sms);
    const Buffer<std::byte> state(device, n_state + kGuard, "rows");
    stream->fill(scratch.data(), 0x7f, scratch.bytes());
    stream->fill(state.data(), 0, n_state);
    stream->fill(state.data() + n_state, 0x7f, kGuard);  // a counter too many would be left as zero
    for (Launch& each : variant.launches(params, n_sms, {scratch.data(), state.data()})) {
      if (blocks != 0) each.config.grid.x = blocks;
      stream->launch(each);
    }
    // Their sizes go with the rows too.
    const auto all = [](const std::vector<std::byte>& bytes, std::uint8_t value) {
      return std::ranges::all_of(bytes, [value](std::byte b) { return b == std::byte{value}; });
    };
    if (!all(scratch.download(*stream, n_scratch, kGuard), 0x7f))
      wrong = "more scratch is written than is asked for";
    if (!all(state.download(*stream, n_state, kGuard), 0x7f))
      wrong = "more state is written than is asked for";
    if (!all(state.download(*stream, 0, n_state), 0)) wrong = "state is left that is not zero";
  }
};

inline Buffer<int> positions(Bench& bench, std::span<const int> rows) {
  std::vector<int> of;
  for (const int row : rows) of.push_back(kPosition[row]);
  return bench.up(of);
}
inline Buffer<int> sequences(Bench& bench, std::span<const int> rows) {
  std::vector<int> of;
  for (const int row : rows) of.push_back(rows.size() == 1 ? 0 : kSequence[row]);
  return bench.up(of);
}

template <class T>
std::vector<Bits> split(const std::vector<T>& values, std::size_t n_rows) {
  const std::size_t n = values.size() / n_rows;
  std::vector<Bits> of;
  for (std::size_t i = 0; i < n_rows; ++i)
    of.push_back(bits_of(std::span<const T>(values).subspan(i * n, n)));
  return of;
}

inline std::vector<Bits> run_rope(Bench& bench, const Variant<RopeParams>& variant,
                                  std::span<const int> rows) {
  constexpr int kHeads = 3, kHeadDim = 16, kRotated = 12;
  std::vector<float2> angles;
  for (const float value : normal(kCapacity * kRotated / 2, 1))
    angles.push_back({std::cos(value), std::sin(value)});
  const Buffer<float2> table = bench.up(angles);
  const Buffer<float> x = bench.up(gathered(normal(kRows * kHeads * kHeadDim, 2), kHeads * kHeadDim, rows));
  const Buffer<int> position = positions(bench, rows);
  bench.launch(variant, {x.data(), table.data(), position.data(), static_cast<int>(rows.size()), kHeads,
                         kHeadDim, kRotated});
  return split(x.download(*bench.stream), rows.size());
}

inline std::vector<Bits> run_append(Bench& bench, const Variant<KvAppendParams>& variant,
                                    std::span<const int> rows) {
  constexpr int kHeads = 2, kHeadDim = 8, kOfPosition = kHeads * kHeadDim,
                kOfSequence = kCapacity * kOfPosition;
  const bool alone = rows.size() == 1;
  const std::size_t n = (alone ? 1 : kRows) * kOfSequence;
  const Buffer<half> k = bench.up(std::vector<half>(n, half{0x7e00}));
  const Buffer<half> v = bench.up(std::vector<half>(n, half{0x7e00}));
  const Buffer<float> new_k = bench.up(gathered(normal(kRows * kOfPosition, 3), kOfPosition, rows));
  const Buffer<float> new_v = bench.up(gathered(normal(kRows * kOfPosition, 4), kOfPosition, rows));
  const Buffer<int> position = positions(bench, rows), sequence = sequences(bench, rows);
  bench.launch(variant, {new_k.data(),
                         new_v.data(),
                         {k.data(), v.data(), kOfSequence, kOfPosition, kHeadDim, kCapacity},
                         sequence.data(),
                         position.data(),
                         static_cast<int>(rows.size()),
                         kHeads,
                         kHeadDim});
  const std::vector<half> all_k = k.download(*bench.stream), all_v = v.download(*bench.stream);
  std::vector<Bits> of;
  for (const int row : rows) {  // its whole sequence
    const std::size_t first = static_cast<std::size_t>(alone ? 0 : kSequence[row]) * kOfSequence;
    Bits bits = bits_of(std::span(all_k).subspan(first, kOfSequence));
    const Bits of_v = bits_of(std::span(all_v).subspan(first, kOfSequence));
    bits.insert(bits.end(), of_v.begin(), of_v.end());
    of.push_back(bits);
  }
  return of;
}

inline std::vector<Bits> run_attention(Bench& bench, const Variant<AttentionDecodeParams>& variant,
                                       std::span<const int> rows) {
  constexpr int kHeads = 6, kKvHeads = 2, kHeadDim = 16, kOfPosition = kKvHeads * kHeadDim;
  constexpr std::size_t kOfSequence = kCapacity * kOfPosition;
  const bool alone = rows.size() == 1;
  const auto cache = [&](std::uint64_t stream) {
    const std::vector<half> all = halves(kRows * kOfSequence, stream);
    return bench.up(alone ? gathered(all, kOfSequence, std::span(&kSequence[rows[0]], 1)) : all);
  };
  const Buffer<half> k = cache(5), v = cache(6);
  const Buffer<float> q = bench.up(gathered(normal(kRows * kHeads * kHeadDim, 7), kHeads * kHeadDim, rows));
  const Buffer<float> y(bench.device, q.size(), "rows");
  bench.stream->fill(y.data(), 0x7f, y.bytes());
  const Buffer<int> position = positions(bench, rows), sequence = sequences(bench, rows);
  bench.launch(variant, {q.data(),
                         {k.data(), v.data(), kOfSequence, kOfPosition, kHeadDim, kCapacity},
                         sequence.data(),
                         position.data(),
                         y.data(),
                         static_cast<int>(rows.size()),
                         kHeads,
                         kKvHeads,
                         kHeadDim,
                         0.25f});
  return split(y.download(*bench.stream), rows.size());
}

inline std::vector<Bits> run_argmax(Bench& bench, const Variant<ArgmaxParams>& variant,
                                    std::span<const int> rows) {
  constexpr int kValues = 3000;
  const Buffer<float> x = bench.up(gathered(normal(kRows * kValues, 8), kValues, rows));
  const Buffer<int> index(bench.device, rows.size(), "rows");
  bench.stream->fill(index.data(), 0x7f, index.bytes());
  bench.launch(variant, {x.data(), index.data(), static_cast<int>(rows.size()), kValues});
  return split(index.download(*bench.stream), rows.size());
}

/// Empty, or which row of which launch is not as it is alone.
inline std::string compare(const std::string& name, const RunRows& run) {
  std::vector<Bits> alone;
  for (int row = 0; row < kRows; ++row) {
    alone.push_back(run(std::span(&row, 1)).front());
    if (row > 0 && alone[static_cast<std::size_t>(row)] == alone[0]) return name + ": two rows give the same";
  }
  for (const std::vector<int>& rows : {std::vector<int>{0, 1, 2, 3}, {3, 1, 0, 2}, {2, 0}, {1, 3, 0}}) {
    const std::vector<Bits> together = run(rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (together[i] != alone[static_cast<std::size_t>(rows[i])])
        return name + ": row " + std::to_string(i) + " of " + std::to_string(rows.size()) +
               " is not as alone";
    }
  }
  return {};
}

template <class Params, class Run>
std::string compare_variants(Device& device, const Op<Params>& op, Run run) {
  Bench bench{device};
  for (const Variant<Params>& variant : op.variants) {
    const std::string difference =
        compare(std::string(op.name) + "/" + variant.name,
                [&](std::span<const int> rows) { return run(bench, variant, rows); });
    if (!bench.wrong.empty()) return std::string(op.name) + "/" + variant.name + ": " + bench.wrong;
    if (!difference.empty()) return difference;
  }
  return {};
}

}  // namespace rows

/// Where a row of an op's launch is not as it is alone; empty if all are. Throws std::invalid_argument on an op
/// that takes no rows.
inline std::string rows_differ(Device& device, std::string_view op) {
  if (op == kRopeNormal.name) return rows::compare_variants(device, kRopeNormal, rows::run_rope);
  if (op == kRopeNeox.name) return rows::compare_variants(device, kRopeNeox, rows::run_rope);
  if (op == kKvAppend.name) return rows::compare_variants(device, kKvAppend, rows::run_append);
  if (op == kAttentionDecode.name)
    return rows::compare_variants(device, kAttentionDecode, rows::run_attention);
  if (op == kArgmax.name) return rows::compare_variants(device, kArgmax, rows::run_argmax);
  throw std::invalid_argument("no rows of " + std::string(op) + " are compared");
}

}  // namespace m40llm::testing
