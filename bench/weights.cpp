#include "bench/weights.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <string>

#include "bench/random.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

using reference::Block;

constexpr int kMaxPlaces = 1800;  // of E2: 1800 x 8191 < 2^24

constexpr bool has_sixteen_bits(Format format) { return block_bytes(format) == 2; }

/// Appends values to a matrix in its format.
class Writer {
 public:
  explicit Writer(Weights& weights) : weights_(&weights) {
    weights.blocks.reserve(weights.rows * weights.cols /
                           static_cast<std::size_t>(traits(weights.format).block) *
                           static_cast<std::size_t>(block_bytes(weights.format)));
  }
  void add(double value) { reference::encode(in_reference(weights_->format), value, weights_->blocks); }
  /// Of a plain format: its bits.
  void add_bits(std::uint32_t bits) {
    if (has_sixteen_bits(weights_->format)) {
      append(static_cast<std::uint16_t>(bits));
    } else {
      append(bits);
    }
  }
  void add(const Block& block) { reference::encode(in_reference(weights_->format), block, weights_->blocks); }

 private:
  template <class T>
  void append(T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    weights_->blocks.insert(weights_->blocks.end(), bytes.begin(), bytes.end());
  }
  Weights* weights_;
};

/// A class of inputs: how weights and x are drawn. Which of element() and block() is called depends on the
/// format.
class Maker {
 public:
  Maker(Format format, std::size_t cols, std::uint64_t seed)
      : format_(format),
        blocks_(reference::blocks_of(in_reference(format))),
        cols_(cols),
        a_(seed, 0),
        x_(seed, 1) {}
  virtual ~Maker() = default;
  virtual void start_row() {}
  virtual double element() = 0;
  /// Of a plain format, for classes that set bits rather than values.
  virtual std::optional<std::uint32_t> element_bits() { return std::nullopt; }
  virtual Block block() = 0;
  virtual std::vector<float> x() = 0;

 protected:
  bool has_minima() const { return blocks_.has_minima; }
  bool has_sub_blocks() const { return blocks_.sub_blocks > 0; }
  /// All integers 0, those of sub-blocks 1.
  Block empty_block() const {
    return {.q = std::vector<int>(blocks_.elements),
            .scales = std::vector<int>(blocks_.sub_blocks, 1),
            .minima = std::vector<int>(has_minima() ? blocks_.sub_blocks : 0, 1)};
  }
  /// The integers of sub-block `s`.
  std::span<int> sub_block(Block& block, std::size_t s) const {
    const std::size_t n = blocks_.elements / blocks_.sub_blocks;
    return std::span(block.q).subspan(s * n, n);
  }
  /// A sub-block's scale that is not 0, of either sign if the format has signs there.
  int next_sub_scale(int largest) {
    const int magnitude = a_.between(1, std::min(largest, blocks_.highest_scale));
    return blocks_.lowest_scale < 0 ? a_.sign() * magnitude : magnitude;
  }
  /// A power of two from `low` to 4 low, never the same twice in a row.
  double next_scale(double low) {
    step_ = (step_ + 1 + a_.below(2)) % 3;
    return low * (1 << step_);
  }

  Format format_;
  reference::Blocks blocks_;
  std::size_t cols_;
  Random a_, x_;

 private:
  int step_ = 0;
};

class Exact final : public Maker {
 public:
  Exact(Format format, std::size_t cols, std::uint64_t seed, Activations activations)
      : Maker(format, cols, seed), int8_(activations == Activations::int8) {
    int largest = has_minima() ? 8 * 15 + 60 : blocks_.elements > 1 ? 4 * 3 : 15;
    if (has_sub_blocks()) largest = kLargestOfSubBlocks;
    largest_x_ = static_cast<int>((std::size_t{1} << 24) / (cols * static_cast<std::size_t>(largest)));
    if (largest_x_ < 1)
      throw UsageError("inputs E: " + std::to_string(cols) + " columns are too many for exact sums");
    largest_x_ = std::min(largest_x_, 2047);
  }
  double element() override { return a_.sign() * a_.between(1, 15); }
  Block block() override {
    Block block = empty_block();
    if (has_sub_blocks()) {
      block.d = next_scale(1);
      if (has_minima()) block.m = -block.d;
      for (std::size_t s = 0; s < blocks_.sub_blocks; ++s) fill_sub_block(block, s);
    } else if (has_minima()) {
      block.d = next_scale(2);
      block.m = -7.5 * block.d;  // so that no weight is 0
      for (int& q : block.q) q = a_.below(16);
    } else {
      block.d = next_scale(1);
      for (int& q : block.q) q = a_.sign() * a_.between(1, 3);
    }
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x(cols_);
    // An eighth of the sum of magnitudes for the others leaves the largest, a 32nd of them, a 128th of 2^24 each.
    const int largest = int8_ ? std::clamp(largest_x_ / 8, 1, 126) : largest_x_;
    for (float& value : x) value = static_cast<float>(x_.sign() * x_.between(1, largest));
    for (std::size_t first = 0; int8_ && first < cols_; first += 32)
      x[first + static_cast<std::size_t>(x_.below(32))] = static_cast<float>(x_.sign() * 127);
    return x;
  }

 private:
  bool int8_;
  /// Leaves an x of 1 to 65792 columns.
  static constexpr int kLargestOfSubBlocks = 254;
  /// With minima all products of a scale and an integer are even and the minimum odd: no weight is 0.
  void fill_sub_block(Block& block, std::size_t s) {
    const int largest_part = kLargestOfSubBlocks / (has_minima() ? 2 : 1) / static_cast<int>(block.d);
    const int largest_product = std::min(largest_part, blocks_.highest_scale);
    const int scale = block.scales[s] = next_sub_scale(largest_product);
    const int largest = std::min(largest_product / std::abs(scale), blocks_.highest);
    if (has_minima()) {
      block.minima[s] = 2 * a_.between(0, (largest_product - 1) / 2) + 1;
      const int step = scale % 2 == 0 ? 1 : 2;
      for (int& q : sub_block(block, s)) q = step * a_.between(0, largest / step);
    } else {
      for (int& q : sub_block(block, s)) q = a_.sign() * a_.between(1, largest);
    }
  }
  int largest_x_;
};

class ExactSparse final : public Maker {
 public:
  using Maker::Maker;
  void start_row() override {
    // An odd number: rounded to 11 bits, an odd x of 13 bits is off by an odd number of units, and so is the
    // sum of an odd number of such errors. It is never zero.
    places_left_ = (std::min(static_cast<int>(cols_), kMaxPlaces) - 1) | 1;
    cols_left_ = static_cast<int>(cols_);
  }
  double element() override { return next_is_place() ? a_.sign() : 0; }
  Block block() override {
    Block block = empty_block();
    if (has_sub_blocks()) return block_of_sub_blocks(std::move(block));
    block.d = next_scale(0.25);
    const int one = static_cast<int>(1 / block.d);
    if (has_minima()) block.d *= a_.sign();  // one sign a block: with m = 0 nothing cancels inside a weight
    for (int& q : block.q) q = next_is_place() ? (has_minima() ? one : a_.sign() * one) : 0;
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x(cols_);
    for (float& value : x) value = static_cast<float>(x_.sign() * (2 * x_.between(2048, 4095) + 1));
    return x;
  }

 private:
  /// As block(), 1 / d shared out between a sub-block's scale and its integers. Minima are 0 times 1.
  Block block_of_sub_blocks(Block block) {
    block.d = next_scale(0x1p-5);
    const int one = static_cast<int>(1 / block.d);
    if (has_minima()) block.d *= a_.sign();
    for (std::size_t s = 0; s < blocks_.sub_blocks; ++s) {
      const int q_of_one = 1 << a_.below(4);
      block.scales[s] = one / q_of_one;
      for (int& q : sub_block(block, s)) q = next_is_place() ? (has_minima() ? 1 : a_.sign()) * q_of_one : 0;
    }
    return block;
  }
  /// Draws places_left_ of the cols_left_ columns, each column once in turn.
  bool next_is_place() {
    const bool is_place = a_.below(cols_left_--) < places_left_;
    places_left_ -= is_place ? 1 : 0;
    return is_place;
  }
  int places_left_ = 0;
  int cols_left_ = 0;
};

class Centred : public Maker {
 public:
  using Maker::Maker;
  double element() override { return 0.05 * a_.normal(); }
  Block block() override {
    Block block = empty_block();
    const int range = blocks_.highest - blocks_.lowest;
    block.d = (range > 15 ? 0.001 : 0.01) * (0.5 + a_.uniform());
    if (has_sub_blocks()) block.d *= 2. / blocks_.highest_scale;
    if (has_minima()) block.m = -0.5 * range * block.d * (1 + 0.1 * a_.normal());
    for (int& scale : block.scales) scale = a_.between(blocks_.lowest_scale, blocks_.highest_scale);
    for (std::size_t s = 0; s < block.minima.size(); ++s)  // near the scale: then weights are centred
      block.minima[s] = std::min(block.scales[s] + a_.below(4), blocks_.highest_scale);
    fill(block, range, blocks_.lowest);
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x(cols_);
    for (float& value : x) value = x_.normal();
    return x;
  }

 private:
  /// q from eight bits of randomness each: (bits & mask) + offset.
  void fill(Block& block, int mask, int offset) {
    for (std::size_t i = 0; i < block.q.size(); i += 8) {
      std::uint64_t bits = a_.bits();
      for (std::size_t j = 0; j < 8; ++j, bits >>= 8)
        block.q[i + j] = static_cast<int>(bits & 255 & static_cast<unsigned>(mask)) + offset;
    }
  }
};

class Constant final : public Maker {
 public:
  using Maker::Maker;
  void start_row() override { value_ = 0.1 * a_.between(1, 9); }
  double element() override { return value_; }
  Block block() override {
    Block block = empty_block();
    block.d = value_ / 10;
    block.m = has_minima() ? value_ / 3 : 0;
    std::ranges::fill(block.q, has_minima() ? 11 : std::min(87, blocks_.highest));
    std::ranges::fill(block.scales, 37);
    std::ranges::fill(block.minima, 53);
    return block;
  }
  std::vector<float> x() override { return std::vector<float>(cols_, 0.3f); }

 private:
  double value_ = 0;
};

class Outlier final : public Centred {
 public:
  using Centred::Centred;
  double element() override { return Centred::element() * factor(a_); }
  Block block() override {
    Block block = Centred::block();
    const double f = factor(a_);
    block.d *= f;
    block.m *= f;
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x = Centred::x();
    for (float& value : x) value *= static_cast<float>(factor(x_));
    return x;
  }

 private:
  static double factor(Random& random) { return random.below(64) == 0 ? 1e4 : 1; }
};

class Cancelling final : public Centred {
 public:
  using Centred::Centred;
  void start_row() override { have_ = false; }
  double element() override {
    if (!have_) last_ = Centred::element();
    have_ = !have_;
    return last_;
  }
  Block block() override {
    Block block = Centred::block();
    for (std::size_t i = 0; i < block.q.size(); i += 2) block.q[i + 1] = block.q[i];
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x = Centred::x();
    for (std::size_t i = 0; i + 1 < x.size(); i += 2) x[i + 1] = -x[i] * (1 + 0x1p-18f * x_.uniform());
    return x;
  }

 private:
  bool have_ = false;
  double last_ = 0;
};

class Denormal final : public Centred {
 public:
  using Centred::Centred;
  /// For F16 denormal halves; for F32 and BF16 weights whose products with x are denormal.
  double element() override {
    return has_exponents_of_float() ? Centred::element() : 0x1p-24 * a_.between(-1023, 1023);
  }
  Block block() override {
    Block block = Centred::block();
    block.d = 0x1p-24 * a_.between(1, 1023);
    if (has_minima()) block.m = -0x1p-24 * a_.between(1, 1023);
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x(cols_);
    for (float& value : x)
      value = has_exponents_of_float() ? x_.over_binades(-149, -125) : x_.over_binades(-135, -115);
    return x;
  }

 private:
  bool has_exponents_of_float() const { return format_ == Format::f32 || format_ == Format::bf16; }
};

/// What "S-denormal" is for activations of 8 bits.
class Tiny final : public Centred {
 public:
  using Centred::Centred;
  std::vector<float> x() override {
    std::vector<float> x(cols_);
    int exponent = 0;
    for (std::size_t i = 0; i < cols_; ++i) {
      if (i % 32 == 0) exponent = x_.between(-102, -99);
      x[i] = x_.over_binades(exponent, exponent + 1);
    }
    return x;
  }
};

class Signs final : public Centred {
 public:
  using Centred::Centred;
  Block block() override {
    Block block = Centred::block();
    block.d *= a_.sign();
    block.m *= a_.sign();
    return block;
  }
};

/// Bit patterns in turn: first those with rules of their own, an infinity before all, then all; of singles random ones.
class PatternSequence {
 public:
  explicit PatternSequence(Format format) : is_single_(format == Format::f32), first_(first(format)) {}
  std::uint32_t infinity() const { return first_[0]; }
  std::uint32_t next(Random& random) {
    const std::size_t i = next_++;
    if (i < first_.size()) return first_[i];
    if (is_single_) return static_cast<std::uint32_t>(random.bits() >> 32);
    // Any odd factor reaches every pattern; this one spreads neighbours.
    return static_cast<std::uint16_t>((i - first_.size()) * 40503);
  }

 private:
  using Eight = std::array<std::uint32_t, 8>;
  /// Of F32's or BF16's elements, else of halfs: F16's elements, or the scales of blocks.
  static Eight first(Format format) {
    if (format == Format::f32) {
      return {0x7f800000, 0x7fc00000, 0xff800000, 0x00000001, 0x807fffff, 0x80000000, 0x7f800001, 0x7f7fffff};
    }
    if (format == Format::bf16) return {0x7f80, 0x7fc0, 0xff80, 0x0001, 0x807f, 0x8000, 0x7f81, 0xffff};
    return {0x7c00, 0x7e00, 0xfc00, 0x0001, 0x83ff, 0x8000, 0x7c01, 0xffff};
  }
  bool is_single_;
  Eight first_;
  std::size_t next_ = 0;
};
double half_value(std::uint32_t bits) { return reference::half_to_double(static_cast<std::uint16_t>(bits)); }

class ExactPatterns final : public Maker {
 public:
  using Maker::Maker;
  void start_row() override {
    place_ = a_.below(static_cast<int>(cols_));
    meets_zero_ = cols_ >= 4 * unit_ && a_.below(2) == 0;
    if (meets_zero_) place_ = place_ % static_cast<int>(unit_) + 3 * static_cast<int>(unit_);
    col_ = 0;
  }
  double element() override { return 0; }
  std::optional<std::uint32_t> element_bits() override {
    if (col_++ != place_) return 0;
    return meets_zero_ ? patterns_.infinity() : patterns_.next(a_);
  }
  /// Integers of one sign: an infinite scale gives an infinity, whichever is multiplied first. With minima the
  /// pattern is the scale's or the minimum's, the other is 0. In sub-blocks an integer times its scale has that
  /// sign, and is at most 32: then a block's sum is exact.
  Block block() override {
    Block block = empty_block();
    const int n = static_cast<int>(block.q.size());
    const bool here = col_ <= place_ && place_ < col_ + n;
    col_ += n;
    if (!here) return block;
    const double pattern = half_value(meets_zero_ ? patterns_.infinity() : patterns_.next(a_));
    const bool is_minimum = has_minima() && a_.below(2) == 0;
    block.d = is_minimum ? 0 : pattern;
    block.m = is_minimum ? pattern : 0;
    const int sign = has_minima() ? 1 : a_.sign();
    for (int& q : block.q) q = sign * a_.between(1, blocks_.highest);
    for (std::size_t s = 0; s < blocks_.sub_blocks; ++s) {
      block.scales[s] = next_sub_scale(32);
      if (has_minima()) block.minima[s] = a_.between(1, 32);
      const int largest = std::min(32 / std::abs(block.scales[s]), blocks_.highest);
      for (int& q : sub_block(block, s)) q = (block.scales[s] < 0 ? -sign : sign) * a_.between(1, largest);
    }
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x(cols_, 1.0f);
    for (std::size_t i = 0; i < cols_; ++i) {
      if (i / unit_ % 4 == 3) x[i] = 0;
    }
    return x;
  }

 private:
  PatternSequence patterns_{format_};
  std::size_t unit_ = std::max<std::size_t>(32, blocks_.elements);  // of columns where x is 0 or is not
  int place_ = 0;
  bool meets_zero_ = false;  // then the weight is infinite
  int col_ = 0;
};

class Patterns final : public Centred {
 public:
  using Centred::Centred;
  std::optional<std::uint32_t> element_bits() override { return patterns_.next(a_); }
  Block block() override {
    Block block = Centred::block();
    block.d = half_value(patterns_.next(a_));
    if (has_minima()) block.m = reference::half_to_double(static_cast<std::uint16_t>(a_.bits() >> 48));
    return block;
  }

 private:
  PatternSequence patterns_{format_};
};

class InfiniteX final : public Centred {
 public:
  InfiniteX(Format format, std::size_t cols, std::uint64_t seed) : Centred(format, cols, seed) {
    for (int& place : places_) place = x_.below(static_cast<int>(cols));
  }
  void start_row() override { col_ = 0; }
  double element() override {
    const bool here = is_place(col_++);
    return here ? 0.25 * sign_or_zero() : Centred::element();
  }
  Block block() override {
    Block block = Centred::block();
    if (has_minima()) {  // (q - 8) / 128
      block.d = 0x1p-7;
      block.m = -0x1p-4;
    }
    for (int& scale : block.scales) scale = scale == 0 ? 1 : scale;
    if (has_minima()) block.minima = block.scales;
    for (int& q : block.q) {
      if (is_place(col_++)) q = (has_minima() ? 8 : 0) + 3 * sign_or_zero();
    }
    return block;
  }
  std::vector<float> x() override {
    std::vector<float> x = Centred::x();
    for (const int place : places_)
      x[static_cast<std::size_t>(place)] = std::numeric_limits<float>::infinity();
    return x;
  }

 private:
  bool is_place(int col) const { return col == places_[0] || col == places_[1]; }
  int sign_or_zero() { return a_.below(4) == 0 ? 0 : a_.sign(); }
  std::array<int, 2> places_{};
  int col_ = 0;
};

std::unique_ptr<Maker> make_maker(std::string_view inputs, Format format, std::size_t cols,
                                  std::uint64_t seed, Activations activations) {
  if (inputs == "E") return std::make_unique<Exact>(format, cols, seed, activations);
  if (inputs == "E2") return std::make_unique<ExactSparse>(format, cols, seed);
  if (inputs == "R") return std::make_unique<Centred>(format, cols, seed);
  if (inputs == "S-constant") return std::make_unique<Constant>(format, cols, seed);
  if (inputs == "S-outlier") return std::make_unique<Outlier>(format, cols, seed);
  if (inputs == "S-cancel") return std::make_unique<Cancelling>(format, cols, seed);
  if (inputs == "S-denormal" && activations == Activations::int8)
    return std::make_unique<Tiny>(format, cols, seed);
  if (inputs == "S-denormal") return std::make_unique<Denormal>(format, cols, seed);
  if (inputs == "R-signs") return std::make_unique<Signs>(format, cols, seed);
  if (inputs == "E-patterns") return std::make_unique<ExactPatterns>(format, cols, seed);
  if (inputs == "patterns") return std::make_unique<Patterns>(format, cols, seed);
  if (inputs == "N-x") return std::make_unique<InfiniteX>(format, cols, seed);
  throw UsageError("products have no inputs '" + std::string(inputs) + "'");
}

/// Random weights of 16 bits without a conversion each: large matrices are drawn from 4096 made once.
void write_centred(Weights& weights, std::uint64_t seed) {
  Random random(seed, 0);
  Weights few{weights.format, 1, 4096, {}};
  Writer make(few);
  for (std::size_t i = 0; i < few.cols; ++i) make.add(0.05 * random.normal());
  Writer writer(weights);
  for (std::size_t i = 0; i < weights.rows * weights.cols; ++i)
    writer.add_bits(reference::detail::load<std::uint16_t>(few.blocks.data() + 2 * (random.bits() >> 52)));
}

}  // namespace

std::vector<std::string_view> product_classes(Format format, Activations activations) {
  std::vector<std::string_view> classes{"E",        "E2",         "R",          "S-constant", "S-outlier",
                                        "S-cancel", "S-denormal", "E-patterns", "N-x"};
  if (traits(format).block > 1) classes.push_back("R-signs");
  if (activations == Activations::int8) std::erase(classes, "E2");
  return classes;
}

ProductInputs make_product_inputs(std::string_view inputs, Format format, std::size_t rows, std::size_t cols,
                                  std::uint64_t seed, Activations activations) {
  const std::unique_ptr<Maker> maker = make_maker(inputs, format, cols, seed, activations);
  ProductInputs made{{format, rows, cols, {}}, maker->x()};
  if (inputs == "R" && has_sixteen_bits(format)) {
    write_centred(made.a, seed);
    return made;
  }
  const auto block_size = static_cast<std::size_t>(traits(format).block);
  Writer writer(made.a);
  for (std::size_t row = 0; row < rows; ++row) {
    maker->start_row();
    if (block_size > 1) {
      for (std::size_t block = 0; block < cols / block_size; ++block) writer.add(maker->block());
    } else {
      for (std::size_t col = 0; col < cols; ++col) {
        const std::optional<std::uint32_t> bits = maker->element_bits();
        if (bits) {
          writer.add_bits(*bits);
        } else {
          writer.add(maker->element());
        }
      }
    }
  }
  return made;
}

}  // namespace m40llm::bench
