#pragma once
#include <memory>
#include <vector>

#include "bench/suite.hpp"

namespace m40llm::bench {

using Suites = std::vector<std::unique_ptr<Suite>>;

/// Each adds the suites of one op; they stand in the file of the op's name.
void add_embedding(Suites& suites);
void add_rms_norm(Suites& suites);
void add_gemv(Suites& suites);
void add_rope(Suites& suites);
void add_cast(Suites& suites);
void add_kv_append(Suites& suites);
void add_attention_decode(Suites& suites);
void add_residual_add(Suites& suites);
void add_swiglu(Suites& suites);
void add_argmax(Suites& suites);

}  // namespace m40llm::bench
