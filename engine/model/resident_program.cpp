#include "engine/model/resident_program.hpp"

#include <algorithm>

namespace m40llm {
namespace {

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

ResidentProgram::Made ResidentProgram::make(const StepPlan& plan, const Buffer<ArgmaxCandidate>& parts) {
  Made program;
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

ResidentProgram::ResidentProgram(Device& device, Stream& stream, const StepPlan& plan, int n_blocks)
    : parts_(device, static_cast<std::size_t>(n_blocks), kResidentOwner),
      made_(make(plan, parts_)),
      ops_(device, made_.ops.size(), kResidentOwner) {
  ops_.upload(stream, made_.ops);
}

DeviceFault ResidentProgram::stood(const std::string& kernel, std::size_t op) const {
  const std::string where =
      op == made_.ops.size() ? "the next step" : "op " + std::to_string(op) + " (" + made_.names.at(op) + ")";
  return DeviceFault("kernel '" + kernel + "' stood before " + where +
                     ": a block waited for others, which did not come");
}

}  // namespace m40llm
