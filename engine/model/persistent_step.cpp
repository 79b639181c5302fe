#include "engine/model/persistent_step.hpp"

#include <algorithm>

extern "C" void persistent_decode(PersistentDecodeParams);

namespace m40llm {
namespace {

constexpr const char* kOwner = "persistent step";

std::string name_of(const PlannedOp& op) {
  return (op.layer < 0 ? "" : "layer " + std::to_string(op.layer) + ", ") + op.label;
}

/// What ops did since all blocks last waited for each other.
class Open {
 public:
  /// In the first block alone one op follows the other by itself.
  bool concerns(const ResidentForm& form) const {
    return std::ranges::any_of(touched_, [&](const Touched& t) {
      if (t.first_block && form.first_block) return false;
      const auto is = [&](const void* address) { return address == t.address; };
      return std::ranges::any_of(form.writes, is) || (t.written && std::ranges::any_of(form.reads, is));
    });
  }
  void add(const ResidentForm& form) {
    for (const void* address : form.reads) touched_.push_back({address, false, form.first_block});
    for (const void* address : form.writes) touched_.push_back({address, true, form.first_block});
  }
  void close() { touched_.clear(); }

 private:
  struct Touched {
    const void* address;
    bool written, first_block;
  };
  std::vector<Touched> touched_;
};

std::vector<ResidentOp> with_waits(std::span<const ResidentForm> forms) {
  std::vector<ResidentOp> ops;
  Open open;
  for (const ResidentForm& form : forms) {
    ops.push_back(form.op);
    ops.back().waits = open.concerns(form) ? 1 : 0;
    if (ops.back().waits != 0) open.close();
    open.add(form);
  }
  return ops;
}

}  // namespace

PersistentStep::Program PersistentStep::program_of(const StepPlan& plan,
                                                   const Buffer<ArgmaxCandidate>& parts) {
  Program program;
  std::vector<ResidentForm> forms;
  const auto add = [&](const PlannedOp& planned, ResidentForm form) {
    program.names.push_back(name_of(planned));
    program.shared_bytes = std::max(program.shared_bytes, form.shared_bytes);
    forms.push_back(std::move(form));
  };
  for (const PlannedOp& planned : plan) {
    if (!planned.resident) {
      throw LaunchRefused("'" + name_of(planned) + "' (" + planned.op + "/" + planned.variant +
                          "): the persistent kernel has no units of it");
    }
    ResidentForm form = *planned.resident;
    if (form.op.kind != ResidentKind::argmax_parts) {
      add(planned, std::move(form));
      continue;
    }
    form.op.params.argmax.parts = parts.data();
    form.op.params.argmax.n_parts = static_cast<int>(parts.size());
    ResidentForm join = form;
    join.op.kind = ResidentKind::argmax_join;
    join.reads = {parts.data()};
    join.first_block = true;
    form.writes = {parts.data()};
    add(planned, std::move(form));
    add(planned, std::move(join));
  }
  program.ops = with_waits(forms);
  return program;
}

PersistentStep::PersistentStep(Device& device, Stream& stream, const StepPlan& plan, int n_blocks)
    : parts_(device, static_cast<std::size_t>(n_blocks), kOwner),
      program_(program_of(plan, parts_)),
      ops_(device, program_.ops.size(), kOwner),
      barrier_(device, 2, kOwner),
      stood_(device, 1),
      launch_(Kernel<PersistentDecodeParams>{"persistent_decode", persistent_decode},
              {.grid = {static_cast<unsigned>(n_blocks)},
               .block = kPersistentBlock,
               .shared_bytes = program_.shared_bytes,
               .resident = true},
              PersistentDecodeParams{ops_.data(), barrier_.data(), stood_.span().data(),
                                     static_cast<int>(program_.ops.size())}) {
  ops_.upload(stream, program_.ops);
  reset(stream);
}

void PersistentStep::reset(Stream& stream) {
  stood_[0] = 0;
  stream.fill(barrier_.data(), 0, barrier_.bytes());
}

void PersistentStep::check() const {
  if (stood_[0] == 0) return;
  const auto op = static_cast<std::size_t>(stood_[0] - 1);
  throw DeviceFault("kernel 'persistent_decode' stood before op " + std::to_string(op) + " (" +
                    program_.names.at(op) + "): a block waited for others, which did not come");
}

}  // namespace m40llm
