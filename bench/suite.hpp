#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/device/device.hpp"
#include "engine/device/memory.hpp"
#include "engine/ops/variant.hpp"

/// What the harness knows of an op: shapes, inputs, reference and judge. The binaries (parity, bench,
/// occupancy) are loops over suites.
namespace m40llm::bench {

/// A case that this device cannot hold, and why: neither passed nor failed.
class Unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Named sizes in their op's order: {{"rows", 576}, {"cols", 1536}}; written "rows=576,cols=1536".
using Shape = std::vector<std::pair<std::string, int>>;
std::string to_string(const Shape& shape);
int at(const Shape& shape, std::string_view name);

/// One thing to judge. Written "gemv_f16/shared rows=576,cols=1536 R seed=1", and read back from that line.
struct Case {
  std::string op;
  std::string variant;
  Shape shape;
  std::string inputs;  ///< the class of inputs, "E", "R", "S" ... (see gates)
  std::uint64_t seed = 1;

  std::string line() const;
  /// Throws UsageError saying which part of the line cannot be read.
  static Case parse(std::string_view line);
};

/// What a gate says of one output.
struct Verdict {
  bool passed = false;
  double error_over_bound =
      0;  ///< the largest; infinity for NaN, an unwritten element, or an error where the bound is zero
  std::size_t n_outputs = 0;
  std::size_t worst = 0;  ///< where
  double got = 0;
  double want = 0;
  double bound = 0;
  std::uint64_t output_hash = 0;  ///< XXH3-64 of the output's bits
};

/// One case's inputs on a device, ready to be launched as often as one likes.
class Trial {
 public:
  virtual ~Trial() = default;
  /// Fills outputs (and scratch) with a pattern no kernel writes; restores inputs that the kernel changes in
  /// place.
  virtual void reset(Stream& stream) = 0;
  /// In order; they hold as long as the trial does.
  virtual std::span<const Launch> launches() const = 0;
  void launch(Stream& stream) const {
    for (const Launch& launch : launches()) stream.launch(launch);
  }
  /// Fetches the outputs and judges them by the case's gate.
  virtual Verdict judge(Stream& stream) const = 0;
  virtual Work work() const = 0;
};

/// What a case holds at most, by tensor.
struct CaseMemory {
  MemoryNeed on_device, on_host;
};

/// Which of an op's shapes: `model` those of SmolLM2 and other real models, `edge` tails, primes, extremes and
/// sizes past every power of two that an index might be cut to, `bench` large enough to time, `smoke` one tiny case for sanitizers and the checker.
enum class Sweep { smoke, model, edge, bench };

struct VariantInfo {
  std::string name;
  std::string kernel;
  bool bit_exact = true;
};

class Suite {
 public:
  virtual ~Suite() = default;
  virtual std::string op() const = 0;
  virtual std::string source() const = 0;  ///< the kernels' file
  virtual std::string dtype()
      const = 0;  ///< of the weights or of what is stored: "f32", "f16", "q8_0", "q4_1"
  virtual std::vector<VariantInfo> variants() const = 0;
  virtual std::vector<Shape> shapes(Sweep sweep) const = 0;
  virtual std::vector<std::string> inputs() const = 0;
  /// Those of inputs() that the sweeps judge at a shape. Shapes beyond a limit get the few that see it.
  virtual std::vector<std::string> inputs_at(const Shape& shape) const = 0;
  virtual bool applies(std::string_view variant, const Shape& shape) const = 0;
  /// What the variant launches on a GPU of n_sms SMs, in order, at least one; to be looked at: its parameters
  /// have no pointers.
  virtual std::vector<Launch> launches(std::string_view variant, const Shape& shape, int n_sms) const = 0;
  /// How often warps go round the loops of a product; zeros of any other op.
  virtual ProductRounds rounds(const Shape& shape) const = 0;
  /// The longest chain of roundings that the variant declares for the shape.
  virtual int chain(std::string_view variant, const Shape& shape) const = 0;
  /// Its outputs must have the bits of separate ops, each judged by a suite of its own: it has no bounds, and so no use
  /// for a chain.
  virtual bool judged_by_separate_ops() const { return false; }
  /// Throws UsageError on an unknown variant or inputs, and on a shape whose names or values do not fit the
  /// op or the variant.
  virtual void check(const Case& c) const = 0;
  /// On a device of n_sms SMs. Throws UsageError as check() does. All of the shape, as if no inputs left out a part.
  virtual CaseMemory memory(std::string_view variant, const Shape& shape, int n_sms) const = 0;
  /// Throws UsageError as check() does; OutOfMemory, before anything is made, if there is not enough;
  /// Unavailable if inputs that leave out a part find no sparse memory.
  virtual std::unique_ptr<Trial> trial(Device& device, const Case& c) const = 0;
};

using SuiteList = std::vector<std::unique_ptr<Suite>>;

/// Defined anywhere in a program, in its static memory, it adds suites to those of suites(). It takes no memory: before
/// main() there is no one to tell that there is none.
class RegisterSuites {
 public:
  explicit RegisterSuites(void (*add)(SuiteList& suites)) : add_(add), before_(last_) { last_ = this; }
  RegisterSuites(const RegisterSuites&) = delete;
  RegisterSuites& operator=(const RegisterSuites&) = delete;

 private:
  friend std::span<const std::unique_ptr<Suite>> suites();
  static inline const RegisterSuites* last_ = nullptr;
  void (*add_)(SuiteList& suites);
  const RegisterSuites* before_;
};

/// All that are registered, by name.
std::span<const std::unique_ptr<Suite>> suites();
/// Throws UsageError listing the ops there are.
const Suite& suite(std::string_view op);

}  // namespace m40llm::bench
