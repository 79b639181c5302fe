#include "tests/decode/ring_checks.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <thread>

#include "engine/decode/greedy.hpp"
#include "engine/decode/ring.hpp"
#include "engine/device/open.hpp"
#include "tests/model/model_file.hpp"

namespace m40llm::testing {
namespace {

using namespace std::chrono_literals;

constexpr int kRoom = 24;
constexpr auto kPatience = 10s;  // of the host: nothing here takes a tenth of it

void require(bool right, const std::string& what) {
  if (!right) throw std::runtime_error(what);
}

/// What a job asks for.
struct Job {
  std::vector<int> prompt;
  int n_tokens;
};

/// What a job gave.
struct Given {
  std::vector<int> tokens;
  std::vector<RingKind> kinds;
  bool operator==(const Given&) const = default;
  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      text += " " + std::to_string(tokens[i]) + "/" + std::to_string(static_cast<unsigned>(kinds[i]));
    return text;
  }
};

/// One format, as that is all that copies of the kernel with a planted fault have.
ModelFile q8_0_model() { return ModelFile({.types = {gguf::TensorType::q8_0}}); }

struct Rig {
  explicit Rig(const DeviceOptions& options, const ModelFile& model_file = q8_0_model())
      : file(model_file),
        device(open_device(options)),
        stream(device->create_stream()),
        model(*device, *stream, file.file, kRoom) {}

  /// What a job has to give, from steps by a graph; logits() are its last ones.
  Given by_graph(const Job& job) {
    Given given;
    const auto n_prompt = job.prompt.size();
    decode_greedy(
        *device, *stream, model, job.prompt, job.n_tokens, Way::graph, [](int) { return false; },
        [&](const DecodeStep& step) {
          given.tokens.push_back(step.next);
          given.kinds.push_back(given.tokens.size() < n_prompt ? RingKind::prefill : RingKind::decode);
          return true;
        });
    given.kinds.back() = RingKind::length;
    return given;
  }
  std::vector<float> logits() { return model.logits().download(*stream); }

  /// So many looks at the host, and at other blocks, that a grid which waits needs about `time` for: three reads across PCIe
  /// take a GPU two microseconds, one of the L2 a quarter of one; the SIMT device looks every half millisecond.
  unsigned lease_looks(std::chrono::milliseconds time) const { return looks_in(time, 500); }
  unsigned looks(std::chrono::milliseconds time) const { return looks_in(time, 4000); }

  RingOptions ring_of(unsigned n_jobs, unsigned n_results, unsigned start = 0) const {
    return {.n_jobs = n_jobs,
            .n_results = n_results,
            .n_blocks = 3,
            .lease_period = 2ms,
            .looks = looks(8s),
            .start = start};
  }

  OpenModelFile file;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  Llama model;

 private:
  unsigned looks_in(std::chrono::milliseconds time, unsigned of_gpu_in_a_ms) const {
    constexpr unsigned kOfSimt = 2;
    const bool on_gpu = device->info().kind == DeviceKind::cuda;
    return static_cast<unsigned>(time.count()) * (on_gpu ? of_gpu_in_a_ms : kOfSimt);
  }
};

unsigned submit(Ring& ring, const Job& job, std::span<const int> stops = {}) {
  const std::optional<unsigned> number = ring.submit(job.prompt, job.n_tokens, stops);
  require(number.has_value(), "the queue is full");
  return *number;
}

RingResult next(Ring& ring) {
  const std::optional<RingResult> result = ring.wait(kPatience);
  require(result.has_value(), "no result");
  return *result;
}

/// All of a job, of which `before` was seen.
Given rest_of(Ring& ring, unsigned job, Given before = {}) {
  for (;;) {
    const RingResult result = next(ring);
    require(result.job == job,
            "a result of job " + std::to_string(result.job) + ", not " + std::to_string(job));
    require(result.since_submit_us > 0, "a result before its job");
    before.tokens.push_back(result.token);
    before.kinds.push_back(result.kind);
    if (result.is_last()) return before;
  }
}

void require_same(const Given& given, const Given& expected, const std::string& what) {
  require(given == expected, what + " gave" + given.text() + "; expected" + expected.text());
}

/// The i-th of jobs that all differ.
Job job_of(int i) {
  Job job{{}, 1 + i % 4};
  for (int k = 0; k <= i % 3; ++k) job.prompt.push_back((7 * i + 11 * k + 3) % 67);
  return job;
}
const Job kLong{{3, 1, 4}, 16};

/// A queue that is filled again and again: all is full, nothing is worked on twice, and all counters wrap around.
void jobs_are_done_in_order_once(const DeviceOptions& options) {
  Rig rig(options);
  constexpr int kJobs = 12;
  std::vector<Given> expected;
  for (int i = 0; i < kJobs; ++i) expected.push_back(rig.by_graph(job_of(i)));
  const std::vector<float> logits = rig.logits();
  for (const unsigned start : {0u, 0u - 3u, 0u - 9u, (1u << 29) - 3u}) {
    Ring ring(*rig.device, rig.model, rig.ring_of(4, 8, start));
    for (int first = 0; first < kJobs; first += 4) {
      for (int i = first; i < first + 4; ++i)
        require(submit(ring, job_of(i)) == start + static_cast<unsigned>(i), "another number");
      require(!ring.submit(std::vector{1}, 1), "a full queue took a job");
      for (int i = first; i < first + 4; ++i) {
        require_same(rest_of(ring, start + static_cast<unsigned>(i)), expected[static_cast<std::size_t>(i)],
                     "job " + std::to_string(i) + " from " + std::to_string(start));
      }
    }
    require(!ring.wait(20ms), "a result of no job");
    ring.stop();
    require(rig.logits() == logits, "other logits, from " + std::to_string(start));
  }
}

/// Blocks of the SIMT device run as far as they can, the first or the last one first: where one does not wait it is early.
void the_barrier_wraps_at_any_op(const DeviceOptions& given) {
  constexpr unsigned kBlocks = 3;
  constexpr unsigned kBarriers = 16;  // of a step, and before it
  std::vector<DeviceOptions> all{given};
  if (given.device == "simt") {
    all = {{.device = "simt", .simt_order = SimtOrder::ascending, .simt_workers = 1},
           {.device = "simt", .simt_order = SimtOrder::descending, .simt_workers = 1}};
  }
  for (const DeviceOptions& options : all) {
    Rig rig(options);
    const Given expected = rig.by_graph(job_of(2));
    for (unsigned n = 1; n <= kBarriers; ++n) {
      Ring ring(*rig.device, rig.model, rig.ring_of(1, 8, 0u - n * kBlocks));
      require_same(rest_of(ring, submit(ring, job_of(2))), expected,
                   "a wrap at barrier " + std::to_string(n));
    }
  }
}

void results_wait_for_a_slow_host(const DeviceOptions& options) {
  Rig rig(options);
  const Given expected = rig.by_graph(kLong);
  for (const unsigned n_results : {1u, 2u, 4u}) {
    Ring ring(*rig.device, rig.model, rig.ring_of(2, n_results));
    for (int round = 0; round < 2; ++round) {
      const unsigned job = submit(ring, kLong);
      Given given;
      while (given.kinds.empty() || given.kinds.back() < RingKind::length) {
        std::this_thread::sleep_for(round == 0 ? 8ms : 0ms);
        const RingResult result = next(ring);
        require(result.job == job, "a result of another job");
        given.tokens.push_back(result.token);
        given.kinds.push_back(result.kind);
      }
      require_same(given, expected, "a slow host's job");
    }
  }
}

/// The grid goes no further than the results that the host asks for.
void a_job_is_cancelled_before_its_next_step(const DeviceOptions& options) {
  Rig rig(options);
  const Given all = rig.by_graph(kLong);
  const Given other = rig.by_graph(job_of(5));
  Ring ring(*rig.device, rig.model, rig.ring_of(4, 1));
  for (int round = 0; round < 3; ++round) {
    const unsigned first = submit(ring, kLong);
    const unsigned queued = submit(ring, kLong);
    const unsigned second = submit(ring, job_of(5));
    ring.cancel(queued);
    for (std::size_t i = 0; i < 5; ++i) {
      const RingResult result = next(ring);
      require(result.job == first && result.token == all.tokens[i] && result.kind == all.kinds[i],
              "another result before the cancellation");
    }
    ring.cancel(first);
    require_same(rest_of(ring, first), {{0}, {RingKind::cancelled}}, "a job cancelled at work");
    require_same(rest_of(ring, queued), {{0}, {RingKind::cancelled}}, "a job cancelled in the queue");
    require_same(rest_of(ring, second), other, "the job behind");
  }
}

void a_stop_ends_what_works_and_what_waits(const DeviceOptions& options) {
  Rig rig(options);
  for (const unsigned n_results : {1u, 64u}) {
    for (const int taken : {-1, 0, 2}) {  // -1: idle
      Ring ring(*rig.device, rig.model, rig.ring_of(2, n_results));
      if (taken >= 0) submit(ring, kLong);
      for (int i = 0; i < taken; ++i) next(ring);
      std::this_thread::sleep_for(5ms);
      const auto since = std::chrono::steady_clock::now();
      ring.stop();
      require(std::chrono::steady_clock::now() - since < kPatience / 2, "a stop that took long");
      while (ring.poll()) {
      }
    }
  }
  // Jobs for a second: most are not begun when it stops.
  Ring ring(*rig.device, rig.model, rig.ring_of(64, 2048));
  for (int i = 0; i < 64; ++i) submit(ring, kLong);
  next(ring);
  ring.stop();
  int n = 0;
  while (ring.poll()) ++n;
  require(n < 32 * 18, "a grid that was stopped worked on: " + std::to_string(n) + " results");
}

void idle_is_not_dead(const DeviceOptions& options) {
  Rig rig(options);
  const Given expected = rig.by_graph(job_of(2));
  RingOptions patient = rig.ring_of(2, 8);
  patient.lease_looks = rig.lease_looks(1500ms);  // gone in less than the host's silence
  patient.looks = rig.looks(1500ms);
  Ring ring(*rig.device, rig.model, patient);
  for (int round = 0; round < 2; ++round) {
    require_same(rest_of(ring, submit(ring, job_of(2))), expected, "a job after idle time");
    if (round == 0) std::this_thread::sleep_for(2500ms);
  }
}

void without_a_lease_the_grid_ends(const DeviceOptions& options) {
  Rig rig(options);
  const Given expected = rig.by_graph(job_of(2));
  RingOptions short_lease = rig.ring_of(2, 1);
  short_lease.lease_period = 0ms;
  short_lease.lease_looks = rig.lease_looks(1250ms);
  const auto ends = [](const Ring& ring) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!ring.has_ended() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(1ms);
    return ring.has_ended();
  };
  {
    Ring idle(*rig.device, rig.model, short_lease);
    require(ends(idle), "an idle grid lives without a lease");
  }
  Ring ring(*rig.device, rig.model, short_lease);
  for (int i = 0; i < 700; ++i) {
    ring.renew_lease();
    std::this_thread::sleep_for(2ms);
  }
  require(!ring.has_ended(), "a grid with a lease has ended");
  require_same(rest_of(ring, submit(ring, job_of(2))), expected, "a job with a lease");
  submit(ring, kLong);
  next(ring);
  require(ends(ring), "a grid that waits for room lives without a lease");
  try {
    ring.poll();
  } catch (const DeviceFault& fault) {
    require(std::string(fault.what()) ==
                "kernel 'ring_decode' ended by itself: the host's lease stood still at " +
                    std::to_string(short_lease.lease_looks) + " looks",
            fault.what());
    return;
  }
  require(false, "nobody says that the grid has ended");
}

void a_stop_token_ends_its_job(const DeviceOptions& options) {
  Rig rig(options);
  const Given behind = rig.by_graph(job_of(2));
  Given expected = rig.by_graph(kLong);
  const auto generated = std::span(expected.tokens).subspan(kLong.prompt.size() - 1);
  std::ptrdiff_t at = 0;  // the one that comes first as late as any
  for (const int token : generated)
    at = std::max(at, std::ranges::find(generated, token) - generated.begin());
  std::vector<int> stops;  // two that do not come, and it
  for (int token = 0; stops.size() < 2; ++token) {
    if (std::ranges::find(generated, token) == generated.end()) stops.push_back(token);
  }
  stops.push_back(generated[static_cast<std::size_t>(at)]);
  const std::size_t n_steps = kLong.prompt.size() + static_cast<std::size_t>(at);
  expected.tokens.resize(n_steps);
  expected.kinds.resize(n_steps);
  expected.kinds.back() = RingKind::stop_token;
  Ring ring(*rig.device, rig.model, rig.ring_of(2, 64));
  require_same(rest_of(ring, submit(ring, kLong, stops)), expected, "a job with stops");
  require_same(rest_of(ring, submit(ring, job_of(2))), behind, "a job behind it");
}

void a_job_that_is_not_finite_ends(const DeviceOptions& options) {
  ModelFile file = q8_0_model();
  file.tensors.at("output_norm.weight").planted = {0, std::numeric_limits<double>::quiet_NaN()};
  Rig rig(options, file);
  Ring ring(*rig.device, rig.model, rig.ring_of(2, 8));
  for (int round = 0; round < 2; ++round)
    require_same(rest_of(ring, submit(ring, kLong)), {{~0}, {RingKind::not_finite}}, "a job of NaN");
}

constexpr RingCheck kChecks[] = {
    {"JobsAreDoneInOrderOnce", jobs_are_done_in_order_once},
    {"TheBarrierWrapsAtAnyOp", the_barrier_wraps_at_any_op},
    {"ResultsWaitForASlowHost", results_wait_for_a_slow_host},
    {"AJobIsCancelledBeforeItsNextStep", a_job_is_cancelled_before_its_next_step},
    {"AStopEndsWhatWorksAndWhatWaits", a_stop_ends_what_works_and_what_waits},
    {"AStopTokenEndsItsJob", a_stop_token_ends_its_job},
    {"AJobThatIsNotFiniteEnds", a_job_that_is_not_finite_ends},
    {"IdleIsNotDead", idle_is_not_dead},
    {"WithoutALeaseTheGridEnds", without_a_lease_the_grid_ends},
};

}  // namespace

std::span<const RingCheck> ring_checks() { return kChecks; }

std::string first_wrong_ring() {
  for (const RingCheck& check : kChecks) {
    try {
      check.run({.device = "simt", .simt_workers = 2});
    } catch (const std::exception& wrong) {
      return std::string(check.name) + ": " + wrong.what();
    }
  }
  return {};
}

}  // namespace m40llm::testing
