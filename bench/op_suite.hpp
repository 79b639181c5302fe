#pragma once
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include "bench/case_memory.hpp"
#include "bench/gates.hpp"
#include "bench/random.hpp"
#include "bench/suite.hpp"
#include "engine/device/buffer.hpp"
#include "engine/error.hpp"
#include "engine/model/pack.hpp"

/// What the suites of all ops share: an op's file says its shapes, its inputs and what must come out.
namespace m40llm::bench {

/// Of one dimension of a shape.
inline constexpr int kLargestSize = 1 << 24;
/// Of a dimension that is an op's only one and so meets no other in a product.
inline constexpr int kLargestCount = (1 << 30) + (1 << 24);
/// Inputs as by default, of which only the end is there (the last rows, heads or elements; for caches and tables
/// the last position): the rest is a hole of sparse memory, and what would be made of it is not judged. So an
/// index past 2^31 or 2^32 costs as little as a small one. A case without room for a hole has none.
inline constexpr const char* kFar = "far";
/// Elements before the end of n that are left out in case c; `kept` are not.
inline std::size_t hole(const Case& c, std::size_t n, std::size_t kept) {
  return c.inputs == kFar && n > kept ? n - kept : 0;
}

/// Something a kernel writes: prepared before each launch and judged after it.
class Output {
 public:
  virtual ~Output() = default;
  virtual void reset(Stream& stream) const = 0;
  virtual void judge(Stream& stream, Verdict& verdict, OutputHash& hash) const = 0;
};

/// A window of a buffer that is put into a known state, of which some elements are the output and all others
/// must stay as they were.
template <class T>
class TypedOutput : public Output {
 public:
  /// before: the window's contents before a launch, from element `first` of the buffer on; places: the index of
  /// each output element in it, in the order of `expected`.
  TypedOutput(std::shared_ptr<const Buffer<T>> buffer, std::size_t first, std::vector<T> before,
              std::vector<std::size_t> places, Expected<T> expected)
      : before_(std::move(before)),
        places_(std::move(places)),
        expected_(std::move(expected)),
        buffer_(std::move(buffer)),
        first_(first) {}

  void reset(Stream& stream) const override { buffer_->upload(stream, before_, first_); }
  void judge(Stream& stream, Verdict& verdict, OutputHash& hash) const override {
    std::vector<T> after = buffer_->download(stream, first_, before_.size());
    std::vector<T> got;
    got.reserve(places_.size());
    for (const std::size_t place : places_) {
      got.push_back(after[place]);
      after[place] = before_[place];
    }
    bench::judge<T>(got, expected_, verdict);
    for (T& value : got) value = hashed(value);
    hash.add(std::as_bytes(std::span(got)));
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (std::memcmp(&after[i], &before_[i], sizeof(T)) != 0) {
        fail_guard(verdict, i, as_double(after[i]));
        break;
      }
    }
  }

 private:
  static double as_double(half x) { return x.bits; }
  template <class Number>
  static double as_double(Number x) {
    return x;
  }

  std::vector<T> before_;
  std::vector<std::size_t> places_;
  Expected<T> expected_;
  std::shared_ptr<const Buffer<T>> buffer_;
  std::size_t first_;
};

/// Memory that a variant works in and that says nothing before or after: poisoned before each launch, with a
/// guard behind it.
class Scratch final : public Output {
 public:
  /// 0x7f7f...: 3.4e38 as a float, a NaN as a half, far out of range as an index.
  static constexpr std::uint8_t kPoison = 0x7f;
  Scratch(Device& device, std::size_t bytes) : bytes_(bytes), buffer_(device, bytes + kGuard, "scratch") {}
  std::byte* data() const { return buffer_.data(); }

  void reset(Stream& stream) const override { stream.fill(buffer_.data(), kPoison, buffer_.bytes()); }
  void judge(Stream& stream, Verdict& verdict, OutputHash&) const override {
    const std::vector<std::byte> guard = buffer_.download(stream, bytes_, kGuard);
    const auto touched = std::ranges::find_if(guard, [](std::byte b) { return b != std::byte{kPoison}; });
    if (touched != guard.end())
      fail_guard(verdict, static_cast<std::size_t>(touched - guard.begin()), std::to_integer<int>(*touched));
  }

 private:
  std::size_t bytes_;
  Buffer<std::byte> buffer_;
};

/// Memory of a variant that its launches find as zeros and leave as zeros, with a guard behind it: of what is no zero,
/// since a counter too many would be left as zero there too.
class State final : public Output {
 public:
  State(Device& device, std::size_t bytes) : bytes_(bytes), buffer_(device, bytes + kGuard, "state") {}
  std::byte* data() const { return buffer_.data(); }

  void reset(Stream& stream) const override {
    stream.fill(buffer_.data(), 0, bytes_);
    stream.fill(buffer_.data() + bytes_, Scratch::kPoison, kGuard);
  }
  void judge(Stream& stream, Verdict& verdict, OutputHash&) const override {
    const std::vector<std::byte> after = buffer_.download(stream);
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (after[i] == (i < bytes_ ? std::byte{0} : std::byte{Scratch::kPoison})) continue;
      fail_guard(verdict, i, std::to_integer<int>(after[i]));
      return;
    }
  }

 private:
  std::size_t bytes_;
  Buffer<std::byte> buffer_;
};

/// Part of a buffer that is otherwise a hole.
template <class T>
struct Piece {
  std::size_t first = 0;
  std::vector<T> values;
};

/// Where a trial's memory is made: inputs go up at once and stay until the trial ends.
class Holder {
 public:
  explicit Holder(Device& device) : device_(&device), stream_(device.create_stream()) {}
  Device& device() const { return *device_; }

  /// With a hole of so many elements before it.
  template <class T>
  const T* input(const std::vector<T>& host, std::size_t hole = 0) {
    if (hole > 0) return sparse_input<T>(hole + host.size(), {{hole, host}});
    auto buffer = std::make_shared<Buffer<T>>(*device_, host.size(), "input");
    buffer->upload(*stream_, host);
    stream_->synchronize();
    held_.push_back(buffer);
    return buffer->data();
  }
  /// With a hole of so many rows before it.
  Matrix input(const PackedMatrix& packed, std::size_t hole = 0) {
    if (hole > 0) {
      const auto rows = static_cast<std::size_t>(packed.rows);
      Matrix matrix{nullptr,     nullptr,       static_cast<int>(hole + rows),
                    packed.cols, packed.stride, packed.format};
      matrix.values = input(packed.values, hole * (packed.values.size() / rows));
      if (!packed.scales.empty()) matrix.scales = input(packed.scales, hole * (packed.scales.size() / rows));
      return matrix;
    }
    auto matrix = std::make_shared<DeviceMatrix>(*device_, *stream_, packed, "input");
    held_.push_back(matrix);
    return matrix->view();
  }
  /// `size` elements of which only the pieces are there.
  template <class T>
  const T* sparse_input(std::size_t size, const std::vector<Piece<T>>& pieces) {
    const std::shared_ptr<const Buffer<T>> buffer = sparse<T>(size, "input");
    for (const Piece<T>& piece : pieces) buffer->upload(*stream_, piece.values, piece.first);
    stream_->synchronize();
    return buffer->data();
  }
  /// Poisoned, as long as what is expected, with a guard behind it and a hole of so many elements before it.
  template <class T>
  T* output(Expected<T> expected, std::size_t hole = 0) {
    std::vector<T> before(expected.want.size(), poison<T>());
    return in_place(std::move(before), std::move(expected), hole);
  }
  /// Holds x before each launch, with a guard behind it and a hole before it; x.size() == expected.want.size().
  template <class T>
  T* in_place(std::vector<T> x, Expected<T> expected, std::size_t hole = 0) {
    if (hole > 0) {
      const std::size_t size = hole + x.size();
      return sparse_outputs<T>(size, {{hole, std::move(x)}}, {std::move(expected)}, 0);
    }
    std::vector<std::size_t> places = places_from(0, x.size());
    x.resize(x.size() + kGuard, poison<T>());
    return add(std::move(x), std::move(places), std::move(expected));
  }
  /// `size` elements of which the pieces are outputs, poisoned guards around each; the rest is not looked at.
  /// The pieces lie at least guard_before from the start and the sum of two guards from each other.
  template <class T>
  T* sparse_outputs(std::size_t size, std::vector<Piece<T>> pieces, std::vector<Expected<T>> expected,
                    std::size_t guard_before = kGuard) {
    const std::shared_ptr<const Buffer<T>> buffer = sparse<T>(size + kGuard, "output");
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      std::vector<T> before(guard_before, poison<T>());
      before.insert(before.end(), pieces[i].values.begin(), pieces[i].values.end());
      before.insert(before.end(), kGuard, poison<T>());
      outputs_.push_back(std::make_unique<TypedOutput<T>>(
          buffer, pieces[i].first - guard_before, std::move(before),
          places_from(guard_before, pieces[i].values.size()), std::move(expected[i])));
    }
    return buffer->data();
  }
  /// Poisoned, `size` elements of which only those at `places` are the output.
  template <class T>
  T* scattered_output(std::size_t size, std::vector<std::size_t> places, Expected<T> expected) {
    return add(std::vector<T>(size + kGuard, poison<T>()), std::move(places), std::move(expected));
  }

  /// Of the op's rows, heads or elements only the last n are judged: blocks before theirs need not run.
  void judge_last(std::size_t n) { judged_ = n; }
  std::size_t judged() const { return judged_; }

  std::vector<std::unique_ptr<Output>> take_outputs() { return std::move(outputs_); }
  std::vector<std::shared_ptr<void>> take_held() { return std::move(held_); }

 private:
  static std::vector<std::size_t> places_from(std::size_t first, std::size_t n) {
    std::vector<std::size_t> places(n);
    for (std::size_t i = 0; i < n; ++i) places[i] = first + i;
    return places;
  }
  template <class T>
  std::shared_ptr<const Buffer<T>> sparse(std::size_t size, const char* owner) {
    try {
      auto buffer = std::make_shared<const Buffer<T>>(Buffer<T>::sparse(*device_, size, owner));
      held_.push_back(std::const_pointer_cast<Buffer<T>>(buffer));
      return buffer;
    } catch (const Error& error) {
      throw Unavailable(error.what());
    }
  }
  template <class T>
  T* add(std::vector<T> before, std::vector<std::size_t> places, Expected<T> expected) {
    const auto buffer = std::make_shared<const Buffer<T>>(*device_, before.size(), "output");
    outputs_.push_back(std::make_unique<TypedOutput<T>>(buffer, 0, std::move(before), std::move(places),
                                                        std::move(expected)));
    return buffer->data();
  }

  Device* device_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::vector<std::shared_ptr<void>> held_;
  std::size_t judged_ = 0;  // 0: all
};

template <class Params>
class OpTrial final : public Trial {
 public:
  OpTrial(Device& device, const Variant<Params>& variant, const Params& params, const Work& work,
          Holder& holder)
      : work_(work), held_(holder.take_held()), outputs_(holder.take_outputs()) {
    WorkMemory memory;
    if (const std::size_t bytes = variant.scratch_bytes(params, device.n_sms()); bytes > 0) {
      auto scratch = std::make_unique<Scratch>(device, bytes);
      memory.scratch = scratch->data();
      outputs_.push_back(std::move(scratch));
    }
    if (const std::size_t bytes = variant.state_bytes(params, device.n_sms()); bytes > 0) {
      auto state = std::make_unique<State>(device, bytes);
      memory.state = state->data();
      outputs_.push_back(std::move(state));
    }
    launches_ = variant.launches(params, device.n_sms(), memory);
    // A block makes at least one row, head or element: the last n of them are in the last n blocks. Not so where the
    // grid is made for the device's SMs: its blocks walk over the op, and all are run.
    LaunchConfig& config = launches_.front().config;
    const std::size_t blocks = std::size_t{config.grid.x} * config.grid.y;
    if (variant.config_on == nullptr && launches_.size() == 1 && holder.judged() > 0 &&
        holder.judged() < blocks)
      config.unread_blocks = static_cast<unsigned>(blocks - holder.judged());
  }

  void reset(Stream& stream) override {
    for (const auto& output : outputs_) output->reset(stream);
  }
  std::span<const Launch> launches() const override { return launches_; }
  Verdict judge(Stream& stream) const override {
    Verdict verdict = nothing_judged();
    OutputHash hash;
    for (const auto& output : outputs_) output->judge(stream, verdict, hash);
    verdict.output_hash = hash.value();
    return verdict;
  }
  Work work() const override { return work_; }

 private:
  std::vector<Launch> launches_;
  Work work_;
  std::vector<std::shared_ptr<void>> held_;
  std::vector<std::unique_ptr<Output>> outputs_;
};

/// One size of an op's shape and the values it may take.
struct Dimension {
  const char* name;
  int lowest = 1;
  int multiple_of = 1;
  int highest = kLargestSize;
};

/// A shape beyond some limit, and the classes of inputs that are judged there.
struct Limit {
  std::vector<int> sizes;
  std::vector<std::string> inputs;
};

/// A product of sizes that a parameter, a kernel or a launch holds in an int.
struct IntProduct {
  const char* name;  ///< "n_heads x head_dim"
  std::uint64_t value;
};

/// The sizes of each sweep's shapes, in the order of the dimensions.
struct Sizes {
  std::vector<std::vector<int>> smoke, model, edge, bench;
  std::vector<Limit> limits = {};  ///< of the sweep `edge` too
  std::vector<std::vector<int>> of(Sweep sweep) const {
    switch (sweep) {
      case Sweep::smoke:
        return smoke;
      case Sweep::model:
        return model;
      case Sweep::edge: {
        std::vector<std::vector<int>> sizes = edge;
        for (const Limit& limit : limits) sizes.push_back(limit.sizes);
        return sizes;
      }
      default:
        return bench;
    }
  }
};

/// A suite over an op's table. What differs from op to op is given by the virtual functions at its end.
template <class Params>
class OpSuite : public Suite {
 public:
  OpSuite(const Op<Params>& op, std::string dtype, std::vector<Dimension> dimensions, Sizes sizes)
      : op_(&op), dtype_(std::move(dtype)), dimensions_(std::move(dimensions)), sizes_(std::move(sizes)) {
    for (auto* list : {&sizes_.smoke, &sizes_.model, &sizes_.edge, &sizes_.bench}) {
      for (std::vector<int>& shape : *list) round_up(shape);
    }
    for (Limit& limit : sizes_.limits) round_up(limit.sizes);
  }

  std::string op() const final { return op_->name; }
  std::string source() const final { return op_->source; }
  std::string dtype() const final { return dtype_; }
  std::vector<VariantInfo> variants() const final {
    std::vector<VariantInfo> infos;
    for (const Variant<Params>& v : op_->variants) infos.push_back({v.name, v.kernel.name, v.bit_exact});
    return infos;
  }
  bool applies(std::string_view variant, const Shape& shape) const final {
    const Variant<Params>& v = op_->variant(variant);
    check(shape);
    return v.applies == nullptr || v.applies(without_pointers(shape));
  }
  std::vector<Launch> launches(std::string_view variant, const Shape& shape, int n_sms) const final {
    check(shape);
    return op_->variant(variant).launches(without_pointers(shape), n_sms, {});
  }
  ProductRounds rounds(const Shape& shape) const final {
    check(shape);
    return op_->rounds == nullptr ? ProductRounds{} : op_->rounds(without_pointers(shape));
  }
  int chain(std::string_view variant, const Shape& shape) const final {
    check(shape);
    return op_->variant(variant).chain(without_pointers(shape), positions(shape));
  }
  std::vector<Shape> shapes(Sweep sweep) const final {
    std::vector<Shape> shapes;
    for (const std::vector<int>& values : sizes_.of(sweep)) {
      Shape shape;
      for (std::size_t i = 0; i < dimensions_.size(); ++i)
        shape.emplace_back(dimensions_[i].name, values.at(i));
      shapes.push_back(std::move(shape));
    }
    return shapes;
  }
  std::vector<std::string> inputs_at(const Shape& shape) const final {
    for (const Limit& limit : sizes_.limits) {
      bool same = limit.sizes.size() == shape.size();
      for (std::size_t i = 0; same && i < shape.size(); ++i) same = limit.sizes[i] == shape[i].second;
      if (same) return limit.inputs;
    }
    std::vector<std::string> all = inputs();
    std::erase_if(all, [&](const std::string& name) { return name == kFar || !tells_more_at(shape, name); });
    return all;
  }
  void check(const Case& c) const final {
    if (!applies(c.variant, c.shape)) {
      throw UsageError("case '" + c.line() + "': variant '" + c.variant + "' does not take this shape");
    }
    const std::vector<std::string> known = inputs();
    if (std::find(known.begin(), known.end(), c.inputs) == known.end()) {
      std::string list;
      for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
      throw UsageError("op '" + op() + "' has no inputs '" + c.inputs + "'; it has " + list);
    }
  }
  CaseMemory memory(std::string_view variant, const Shape& shape, int n_sms) const final {
    check(shape);
    CaseMemory memory;
    for (const TensorMemory& tensor : tensors(shape)) {
      if (tensor.on_device != 0) memory.on_device.add(tensor.name, tensor.on_device);
      memory.on_host.add(tensor.name + " on the host", tensor.on_host);
    }
    const std::size_t scratch = op_->variant(variant).scratch_bytes(without_pointers(shape), n_sms);
    if (scratch > 0) memory.on_device.add("scratch", scratch + kGuard);
    const std::size_t state = op_->variant(variant).state_bytes(without_pointers(shape), n_sms);
    if (state > 0) memory.on_device.add("state", state + kGuard);
    return memory;
  }
  std::unique_ptr<Trial> trial(Device& device, const Case& c) const final {
    check(c);
    if (c.inputs != kFar) {  // of which little is there
      const CaseMemory needed = memory(c.variant, c.shape, device.n_sms());
      const std::string missing = missing_memory(device, needed.on_device, needed.on_host);
      if (!missing.empty()) throw OutOfMemory("not enough memory for the case: " + missing);
    }
    const Variant<Params>& variant = op_->variant(c.variant);
    Holder holder(device);
    Params params = without_pointers(c.shape);
    fill(params, c, chain(c.variant, c.shape), holder);
    return std::make_unique<OpTrial<Params>>(device, variant, params, work_of(params, c.shape), holder);
  }

 protected:
  /// The parameters' sizes for a shape, its pointers null: what configurations and traffic models look at.
  virtual Params without_pointers(const Shape& shape) const = 0;
  /// Makes inputs and expected outputs of a case and sets the pointers in params, whose sizes are set. chain:
  /// the variant's d.
  virtual void fill(Params& params, const Case& c, int chain, Holder& holder) const = 0;
  /// All tensors of fill(), by the same sizes.
  virtual std::vector<TensorMemory> tensors(const Shape& shape) const = 0;
  /// The products, in 64 bits, that do not fit an int for every shape whose sizes do. What kernels compute in
  /// 64 bits is not among them.
  virtual std::vector<IntProduct> int_products(const Shape& shape) const = 0;
  /// The op's model, for ops whose model sees the whole shape in their parameters.
  virtual Work work_of(const Params& params, const Shape&) const { return op_->work(params); }
  /// False for inputs that show at small shapes all that they can: the sweeps leave them out at this one.
  virtual bool tells_more_at(const Shape&, std::string_view /*inputs*/) const { return true; }
  /// Of the sequence, for ops that sum over them.
  virtual int positions(const Shape&) const { return 1; }
  /// Throws UsageError if the sizes, each good by itself, do not go together.
  virtual void check_together(const Shape&) const {}

 private:
  /// To the multiples that the dimensions ask for: formats of larger blocks take the shapes of all others so.
  void round_up(std::vector<int>& sizes) const {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const int unit = dimensions_[i].multiple_of;
      sizes[i] = (sizes[i] + unit - 1) / unit * unit;
    }
  }
  void check(const Shape& shape) const {
    std::string names;
    for (const Dimension& d : dimensions_) names += std::string(names.empty() ? "" : ",") + d.name;
    bool fits = shape.size() == dimensions_.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i].first == dimensions_[i].name;
    if (!fits)
      throw UsageError("op '" + op() + "' has a shape of " + names + "; got '" + to_string(shape) + "'");
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const Dimension& d = dimensions_[i];
      if (shape[i].second < d.lowest || shape[i].second > d.highest || shape[i].second % d.multiple_of != 0) {
        throw UsageError("op '" + op() + "': " + d.name + "=" + std::to_string(shape[i].second) +
                         "; a number from " + std::to_string(d.lowest) + " to " + std::to_string(d.highest) +
                         (d.multiple_of > 1 ? ", a multiple of " + std::to_string(d.multiple_of) : "") +
                         " is expected");
      }
    }
    check_together(shape);
    for (const IntProduct& product : int_products(shape)) {
      if (product.value > kLargestInt) {
        throw UsageError("op '" + op() + "': " + product.name + " is " + std::to_string(product.value) +
                         " in '" + to_string(shape) + "'; at most " + std::to_string(kLargestInt) +
                         " is possible");
      }
    }
  }

  static constexpr std::uint64_t kLargestInt = std::numeric_limits<int>::max();
  const Op<Params>* op_;
  std::string dtype_;
  std::vector<Dimension> dimensions_;
  Sizes sizes_;
};

/// Elements that inputs "far" keep of n of them.
inline constexpr std::size_t kKept = 300;

/// What arithmetic has rules of its own for: infinities, NaN, zeros of both signs and the largest floats, among
/// ordinary numbers.
inline float special_float(Random& random) {
  using Float = std::numeric_limits<float>;
  constexpr float kSpecial[] = {Float::infinity(),
                                -Float::infinity(),
                                Float::quiet_NaN(),
                                0.0f,
                                -0.0f,
                                Float::max(),
                                -Float::max(),
                                1.0f,
                                -1.0f};
  const auto which = static_cast<std::size_t>(random.below(12));
  return which < std::size(kSpecial) ? kSpecial[which] : random.normal();
}

/// The value as a float is stored: infinite from the middle between the largest float and 2^128 on.
inline double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

/// A size of a shape, for products in 64 bits.
inline std::uint64_t size_at(const Shape& shape, std::string_view name) {
  return static_cast<std::uint64_t>(at(shape, name));
}

/// n numbers made by `make`, in order.
template <class Make>
auto generate(std::size_t n, Make&& make) {
  std::vector<decltype(make())> values(n);
  for (auto& value : values) value = make();
  return values;
}

}  // namespace m40llm::bench
