#include "engine/model/persistent_step.hpp"

extern "C" void persistent_decode(PersistentDecodeParams);

namespace m40llm {

PersistentStep::PersistentStep(Device& device, Stream& stream, const StepPlan& plan, int n_blocks)
    : program_(device, stream, plan, n_blocks),
      barrier_(device, 2, kResidentOwner),
      stood_(device, 1),
      launch_(Kernel<PersistentDecodeParams>{"persistent_decode", persistent_decode},
              {.grid = {static_cast<unsigned>(n_blocks)},
               .block = kPersistentBlock,
               .shared_bytes = program_.shared_bytes(),
               .resident = true},
              PersistentDecodeParams{.program = program_.data(),
                                     .barrier = barrier_.data(),
                                     .stood = stood_.span().data(),
                                     .n_ops = static_cast<int>(program_.ops().size()),
                                     .start = 0,
                                     .looks = kPersistentLooks}) {
  reset(stream);
}

void PersistentStep::reset(Stream& stream) {
  stood_[0] = 0;
  stream.fill(barrier_.data(), 0, barrier_.bytes());
}

void PersistentStep::check() const {
  if (stood_[0] != 0) throw program_.stood("persistent_decode", stood_[0] - 1);
}

}  // namespace m40llm
