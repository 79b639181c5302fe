#pragma once
#include <string>

#include "engine/model/step_plan.hpp"

namespace m40llm::bench {

/// A step's plan as a table for people: an op a line in the order of the step, layers that are alike folded into
/// one, what each at least moves and computes when it attends to n_positions, and the totals. Modelled, not measured.
std::string plan_table(const StepPlan& plan, int n_positions);

}  // namespace m40llm::bench
